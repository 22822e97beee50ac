"""The page of membership: strongest inferences with accuracy beside them, value of the parent, ROC curves."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.sinks.test_report import charts
from tl_robust import metrics
from tl_robust.results import answer
from tl_robust.results.faces import FACES
from tl_robust.results.names import Names
from tl_robust.results.table import summary
from tl_robust.seeding import generator
from tl_robust.sinks.base import Views
from tl_robust.sinks.report import page as report
from tl_robust.sinks.report.exposure import exposed, parents
from tl_robust.sinks.report.part import Part
from tl_robust.sinks.report.roc import curves, roc
from tl_robust.types import Cell, Exposure, Result, Verdict

SAMPLES, TESTED, MODELS = 120, 30, 6


def exposure(told: float, shadows: int = 4) -> Exposure:
    """Scores of members are higher by ``told`` standard deviations."""
    draw = generator("exposure", told)
    first = torch.rand(MODELS // 2, SAMPLES, generator=draw) < 0.5
    member = torch.stack([first, ~first], 1).flatten(0, 1)
    null = torch.rand(MODELS, TESTED, generator=draw) < 0.5
    noise = torch.randn(1, MODELS, SAMPLES, generator=draw, dtype=torch.float64)
    right = torch.ones(1, MODELS, TESTED, dtype=torch.bool)
    right[..., :6] = False
    return Exposure(
        sample_id=torch.arange(SAMPLES) * 7 + 4001,
        epochs=torch.tensor([12.0], dtype=torch.float64),
        label=torch.arange(SAMPLES) % 10,
        canary=torch.zeros(SAMPLES, dtype=torch.bool),
        member=member,
        score=noise + told * member,
        right=member[None] | (noise > 0),
        null_member=null,
        null_score=torch.randn(1, MODELS, TESTED, generator=draw, dtype=torch.float64),
        test_right=right,
        shadow_right=right,
        shadows=torch.tensor(shadows),
        claim=torch.zeros(2, dtype=torch.float64),
    )


def result(attack: str, told: float, strategy: str = "finetune", **beside: Exposure) -> Result[Any]:
    cell = Cell("bench", "src", "tgt", "dtn", strategy, "", "none", attack, "", "target", 0, SAMPLES, "membership")
    record = exposure(told)
    found = metrics.curves(record, cell.view, beside)
    return Result(f"{attack} {strategy}", cell, record, beside, found, Verdict(), {"outcome": attack})


CELLS = [
    result("loss", 0.2),
    result("rmia", 1.0),
    result("rmia", 0.9, "scratch"),
    result("rmia(knowledge=recipe)", 0.5, lineage=exposure(1.0)),
]


def part(cells: list[Result[Any]]) -> Part:
    rows = summary(cells)
    return Part(FACES["membership"], cells, rows, {}, Names.of(row.cell for row in rows))


def test_the_strongest_inference_of_each_strategy_is_said_with_accuracy_and_chance() -> None:
    _, sentences, table = exposed(part(CELLS))
    assert ["finetune gives away most to rmia:" in line for line in sentences.items] == [True, False]
    assert ["scratch gives away most to rmia:" in line for line in sentences.items] == [False, True]
    for line in sentences.items:
        assert "50 % is chance" in line
        assert "right on 80.0 % of test images" in line
    assert [row[1] for row in table.body] == ["rmia", "rmia", "rmia(knowledge=recipe)", "loss"]


def test_rates_of_too_few_non_members_are_not_told() -> None:
    """Three pairs and 120 samples are 360 decisions on non-members: ten of them are 2.8 %."""
    *_, table = exposed(part(CELLS))
    rates = [dict(zip(table.head, row, strict=True)) for row in table.body]
    assert {row["at 1 %"] for row in rates} == {row["at 0.1 %"] for row in rates} == {"too few"}
    assert all(row["members found at 10 %"].endswith(" %") for row in rates)


def test_the_value_of_the_parent_is_the_difference_of_both_areas() -> None:
    (table,) = parents(part(CELLS))
    (row,) = table.body
    with_parent, without, worth = (float(row[place].split()[0]) for place in (2, 4, 6))
    assert worth == pytest.approx(with_parent - without, abs=0.11)
    assert worth > 5
    assert row[3] == row[5] == "-"


def test_a_roc_curve_counts_members_above_the_same_threshold() -> None:
    member = torch.tensor([[True, True, False, False], [False, False, True, True]])
    score = torch.tensor([[9.0, 5.0, 4.0, 1.0], [8.0, 3.0, 7.0, 2.0]], dtype=torch.float64)
    value, low, high = roc(score, member, torch.tensor([0.0, 0.25, 0.5, 1.0], dtype=torch.float64))
    assert value.tolist() == [0.25, 0.75, 0.75, 1.0]  # members 9 7 5 2, others 8 4 3 1; ties with the next not called
    assert bool((low <= value).all() and (value <= high).all())


def test_a_score_that_is_missing_has_no_curve() -> None:
    record = exposure(1.0)
    score = record.score[0].clone()
    score[0, 0] = torch.nan
    assert all(bool(end.isnan().all()) for end in roc(score, record.member, torch.tensor([0.1], dtype=torch.float64)))


def test_curves_begin_where_ten_non_members_are_called() -> None:
    drawn = curves(part(CELLS))[1].drawings  # type: ignore[union-attr]
    assert [drawing.title for drawing in drawn] == [
        "tgt, rmia, target data", "tgt, rmia(knowledge=recipe), target data", "tgt, loss, target data",
    ]  # fmt: skip
    assert all(lines[0][0] == pytest.approx(10 / 360, rel=0.01) for each in drawn for _, lines in each.lines)


def test_the_answer_begins_with_the_inference_that_tells_most_and_asks_for_no_seeds() -> None:
    """Intervals are over pairs of models, each of which has a seed of its own."""
    first, more = answer.lines(summary(CELLS), seeds=1)
    assert first.startswith("rmia, target data")
    assert "accuracy 80.0 %" in first
    assert "2 more" in more


def test_the_page_has_all_charts_and_no_member(tmp_path: Path) -> None:
    page, text = report.write(Views(tmp_path, "bench", CELLS, summary(CELLS), text="name: bench\n"))
    html, words = page.read_text("utf-8"), text.read_text("utf-8")
    labels = [panel["label"] for panel in charts(html)["panels"]]
    assert sum(label.startswith("ROC curves of") for label in labels) == 3
    assert "What the public parent is worth" in words
    shown = html.partition("<script")[0]
    assert not [member for member in CELLS[0].outcome.sample_id.tolist() if re.search(rf"\b{member}\b", shown + words)]
