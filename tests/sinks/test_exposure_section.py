"""The page of membership: strongest inferences with accuracy beside them, value of the parent, ROC curves."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.sinks.exposure_made import AUDITED, CELLS, DECAY, exposure, result
from tests.sinks.test_report import charts
from tl_robust.claims.effects import Finding
from tl_robust.results import answer
from tl_robust.results.faces import FACES
from tl_robust.results.names import Names, interval
from tl_robust.results.table import summary
from tl_robust.sinks.base import Views
from tl_robust.sinks.report import page as report
from tl_robust.sinks.report.charts import limits
from tl_robust.sinks.report.exposure import audit, exposed, parents
from tl_robust.sinks.report.figures import figure
from tl_robust.sinks.report.part import Part
from tl_robust.sinks.report.roc import curves, roc
from tl_robust.types import Result


def part(cells: list[Result[Any]]) -> Part:
    rows = summary(cells)
    return Part(FACES["membership"], cells, rows, {}, Names.of(row.cell for row in rows))


def test_the_strongest_inference_of_each_strategy_is_said_with_accuracy_and_chance() -> None:
    _, sentences, _, table = exposed(part(CELLS))
    assert ["finetune gives away most to rmia:" in line for line in sentences.items] == [True, False]
    assert ["scratch gives away most to rmia:" in line for line in sentences.items] == [False, True]
    for line in sentences.items:
        assert "50 % is chance" in line
        assert "right on 80.0 % of the target's test images" in line
    assert [row[1] for row in table.body] == ["rmia", "rmia", "rmia(knowledge=recipe)", "loss"]


def test_rates_of_too_few_non_members_are_not_told() -> None:
    """Three pairs and 120 samples are 360 decisions on non-members: ten of them are 2.8 %."""
    *_, table = exposed(part(CELLS))
    rates = [dict(zip(table.head, row, strict=True)) for row in table.body]
    assert {row["at 1 %"] for row in rates} == {row["at 0.1 %"] for row in rates} == {"too few"}
    assert all(row["found at 10 %"].endswith(" %") for row in rates)


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


def test_each_side_is_answered_by_what_tells_most_of_it() -> None:
    """The inference of the source has the name of one that tells less of the target than another."""
    cells = [*CELLS, *DECAY, result("lira", exposure(2.0))]
    shown = answer.lines(summary(cells), seeds=1)
    assert [line.split(", ")[:2] for line in shown[:-1]] == [
        ["lira", "target data at epoch 12"], ["rmia", "target data at epoch 12"], ["rmia", "source data at epoch 2"],
    ]  # fmt: skip


def finding(attack: str) -> Finding:
    says = "Less is given away."
    decided = ("undecided", 0.1, 0.0, 0.2, "share", 0.04, 3, 120, "")
    return Finding("M1", says, "ours", "", attack, *decided, threat="membership")  # type: ignore[arg-type]


def test_what_a_claim_says_stands_where_it_is_first_read() -> None:
    claims = [finding("loss"), finding("rmia")]
    first, *others = answer.said(summary(CELLS), claims, quoted=True)
    assert first.rows[0].cell.attack == "rmia"
    assert "Less is given away" in first.lines[0]
    assert not [line for each in others for line in each.lines if "Less is given away" in line]


def test_the_page_has_all_charts_and_no_member(tmp_path: Path) -> None:
    page, text = report.write(Views(tmp_path, "bench", CELLS, summary(CELLS), text="name: bench\n"))
    html, words = page.read_text("utf-8"), text.read_text("utf-8")
    labels = [panel["label"] for panel in charts(html)["panels"]]
    assert sum(label.startswith("ROC curves of") for label in labels) == 3
    assert "What the public parent is worth" in words
    shown = html.partition("<script")[0]
    assert not [member for member in CELLS[0].outcome.sample_id.tolist() if re.search(rf"\b{member}\b", shown + words)]


def test_the_page_draws_every_inference_of_one_place_and_no_line_of_a_single_point(tmp_path: Path) -> None:
    page, _ = report.write(Views(tmp_path, "bench", CELLS, summary(CELLS), text="name: bench\n"))
    drawn = charts(page.read_text("utf-8"))
    (dots,) = (panel for panel in drawn["panels"] if "every attack" in panel["label"])
    values = {(line[0], attack): line[2][place] for line in dots["lines"] for place, attack in enumerate(line[1])}
    rows = [row for row in summary(CELLS) if row.metric == "auc"]
    assert sorted(values.values()) == sorted(row.value for row in rows)
    assert not [panel for panel in drawn["panels"] if "over epochs" in panel["label"]]


def test_the_decay_of_the_source_is_drawn_and_said(tmp_path: Path) -> None:
    cells = [*CELLS, *DECAY]
    page, text = report.write(Views(tmp_path, "bench", cells, summary(cells), text="name: bench\n"))
    labels = [panel["label"] for panel in charts(page.read_text("utf-8"))["panels"]]
    assert [next(metric for metric in ("auc", "retention") if metric in label)
            for label in labels if "over epochs" in label] == ["auc", "retention"]  # fmt: skip
    words = " ".join(text.read_text("utf-8").split())
    assert "finetune, rmia: the exposure of the source's data above chance is first below half by epoch 1" in words
    assert re.search(r"probe\), rmia: .{0,60} is not below half by epoch 2, and \d+ % of it is left", words)


def test_a_figure_shows_both_sides(tmp_path: Path) -> None:
    figure(summary([*CELLS, *DECAY]), tmp_path / "curves.svg")
    drawn = (tmp_path / "curves.svg").read_text("utf-8")
    said = ("rmia(knowledge=recipe)", "retention of source", "exposure (50 % is chance)")
    assert [words for words in said if words not in drawn] == []
    figure(summary(CELLS), tmp_path / "one.svg")  # attacks of one place alone
    assert "retention" not in (tmp_path / "one.svg").read_text("utf-8")


def test_an_exposure_is_drawn_around_chance() -> None:
    face, rows = FACES["membership"], summary([*CELLS, *DECAY])
    low, high = limits(face, "auc", rows)
    aucs = [row for row in rows if row.metric == "auc"]
    assert 0 < low <= min(0.49, *(row.low for row in aucs))
    assert 1 >= high >= max(row.high for row in aucs)
    assert limits(face, "cohort_accuracy", rows) == (0, 1)


def test_the_audit_tells_what_was_proven_beside_what_could_be_and_what_is_claimed() -> None:
    words, table = audit(part(AUDITED))
    assert "Canaries" in words.text
    rows = [dict(zip(table.head, row, strict=True)) for row in table.body]
    numbers = {(row.cell.defense, row.cell.attack, row.metric): row for row in summary(AUDITED)}
    plain = next(row for row in rows if row["strategy"].endswith("none") and row["inference"] == "rmia")
    private = next(row for row in rows if "dp" in row["strategy"])
    assert plain == rows[0], "the most first"
    assert plain["epsilon claimed"] == "-"
    assert private["epsilon claimed"] == "8 at delta 0.0001"
    for row, defense in ((plain, "none"), (private, "dp(epsilon=8)")):
        proven, most = (float(row[name]) for name in ("epsilon at least", "provable at most"))  # no interval of an end
        assert proven == pytest.approx(numbers[defense, "rmia", "epsilon_bound"].value, abs=1e-3)
        assert 0 <= proven <= most
        assert row["AUC of canaries"] == interval(numbers[defense, "rmia", "canary_auc"])
        assert row["guesses right"] == interval(numbers[defense, "rmia", "guesses_right"])
        assert row["accuracy"] == "80.0 %"
    assert "60 coins a model" in table.title


def test_an_audit_without_canaries_and_claims_speaks_of_none() -> None:
    words, table = audit(part(CELLS))
    assert "anaries" not in words.text
    assert not {"epsilon claimed", "AUC of canaries"} & {*table.head}
    assert f"{len(CELLS[0].outcome.sample_id)} coins a model" in table.title


def test_an_audit_of_one_defense_names_it() -> None:
    _, table = audit(part(AUDITED[1:2]))
    assert [row[table.head.index("defense")] for row in table.body] == ["dp(epsilon=8)"]
