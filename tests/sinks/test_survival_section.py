"""The page of a backdoor: attack success with its floor and accuracy, what is left as table.csv has it, the poison."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.sinks.stamped_made import EPOCHS, record, result
from tests.sinks.test_report import Page, charts, grid
from tl_robust.results import table
from tl_robust.results.faces import FACES
from tl_robust.results.names import Names
from tl_robust.results.table import summary
from tl_robust.sinks.base import Views
from tl_robust.sinks.report import page as report
from tl_robust.sinks.report.part import Part
from tl_robust.sinks.report.survival import poison, survival, worst_classes
from tl_robust.types import Result

PROBE = {"strategy": "finetune(mode=probe)"}
CELLS = [result(), result((75, 75, 74), (60, 70, 80), (50, 72, 79), **PROBE)]


def written(folder: Path, cells: list[Result[Any]]) -> tuple[str, str]:
    """Page and text."""
    page, text = report.write(Views(folder, "bench", cells, summary(cells), text="name: bench\n"))
    return page.read_text("utf-8"), text.read_text("utf-8")


def part(cells: list[Result[Any]]) -> Part:
    rows = summary(cells)
    return Part(FACES["backdoor"], cells, rows, {}, Names.of(row.cell for row in rows))


def panels(page: str, metric: str) -> list[dict[str, Any]]:
    """The charts that have a metric in their labels, apart from their places on the page."""
    return [panel for panel in charts(page)["panels"] if re.search(rf": {metric}\b", panel["label"])]


def values(lines: list[list[Any]]) -> list[list[float]]:
    return [line[2] for line in lines]


def test_attack_success_is_never_charted_without_its_floor_and_accuracy_stands_beside(tmp_path: Path) -> None:
    page, text = written(tmp_path, CELLS)
    (success,) = panels(page, "attack_success")
    assert values(success["lines"]) == [[1.0, pytest.approx(40 / 75, abs=1e-4), 0.2], [1.0, 1.0, 0.9867]]
    assert values(success["thin"]) == [[0.04, pytest.approx(2 / 75, abs=1e-4), pytest.approx(1 / 75, abs=1e-4)]] * 2
    spec = charts(page)["specs"][success["spec"]]
    thin = [layer for layer in spec["chart"]["layer"] if layer["data"] == {"name": "thin"}]
    assert [layer["mark"]["strokeDash"] for layer in thin] == [[3, 3]]
    assert spec["compared"] == "false_trigger"
    places = [panel["label"].partition(",")[0] for panel in charts(page)["panels"]]
    assert places[:2] == ["Poisoned pre-training: success; thin: clean twin", "accuracy; thin: accuracy of the twin"]
    accuracy = charts(page)["panels"][1]
    assert values(accuracy["lines"]) == [[0.6, 0.9, 0.98], [0.6, 0.7, 0.8]]
    assert values(accuracy["thin"]) == [[0.5, 0.92, 0.99], [0.5, 0.72, 0.79]]
    assert "false_trigger, poisoned pre-training, n 75" in Page(page).text
    assert "| 4 | 1.3 % [" in text[text.index("false_trigger, poisoned") :]


def test_without_a_twin_no_chart_and_no_figure_shows_attack_success(tmp_path: Path) -> None:
    page, text = written(tmp_path, [result(floor=None)])
    assert panels(page, "attack_success") == []
    assert "attack_success" in Page(page).text  # its numbers are in tables
    assert "The figure is missing: the curves are not drawn without false_trigger" in text
    assert not (tmp_path / "curves.svg").exists()


def test_epochs_double_along_the_axis(tmp_path: Path) -> None:
    """The axis is symlog with constant 1: linear in log2(1 + epochs)."""
    page, _ = written(tmp_path, CELLS)
    spec = charts(page)["specs"][0]
    assert spec["xs"] == list(EPOCHS)
    x = spec["chart"]["layer"][1]["encoding"]["x"]
    assert (x["scale"]["type"], x["scale"]["constant"], x["axis"]["values"]) == ("symlog", 1.0, list(EPOCHS))
    assert [strip["at"] for strip in spec["strips"]] == ["0", "1", "4"]
    assert spec["strips"][1]["to"] == pytest.approx(10**0.5 - 1)  # (1 + 1) (1 + 4) = 10


def test_the_figure_has_floor_and_accuracy_too(tmp_path: Path) -> None:
    _, text = written(tmp_path, CELLS)
    assert "![Survival of the backdoor over epochs](curves.svg)" in text
    words = " ".join(re.findall(r">([^<>]+)</text>", (tmp_path / "curves.svg").read_text("utf-8")))
    assert "success; thin: clean twin" in words
    assert "accuracy; thin: accuracy of the twin" in words
    dashes = re.findall(r'stroke-dasharray="3,3"', (tmp_path / "curves.svg").read_text("utf-8"))
    assert len(dashes) == 2 * len(CELLS)


def left(text: str) -> dict[str, dict[str, str]]:
    """The table of what is left, by strategy."""
    lines = text[text.index("what is left after") :].split("\n\n")[1].splitlines()
    head, _, *body = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    return {row[0]: dict(zip(head, row, strict=True)) for row in body}


def test_what_is_left_is_what_table_csv_has(tmp_path: Path) -> None:
    rows = [row for cell in CELLS for row in table.rows(cell)]
    table.write(tmp_path / "table.csv", rows, table.COLUMNS)
    with (tmp_path / "table.csv").open(newline="") as file:
        numbers = {(line["strategy"], line["metric"], line["eps"]): line for line in csv.DictReader(file)}
    shown = left(written(tmp_path, CELLS)[1])
    assert list(shown) == ["finetune", "finetune(mode=probe)"]
    for strategy, row in shown.items():

        def share(metric: str, eps: str, strategy: str = strategy) -> str:
            return f"{100 * float(numbers[strategy, metric, eps]['value']):.1f} %"

        def full(metric: str, eps: str, strategy: str = strategy) -> str:
            ends = (100 * float(numbers[strategy, metric, eps][end]) for end in ("low", "high"))
            return f"{share(metric, eps)} [{', '.join(f'{end:.1f}' for end in ends)}]"

        assert row["implanted"] == share("implanted", "") == "100.0 %"
        assert row["lift after 0 epochs"] == full("lift", "0")
        assert row["after 4"] == full("lift", "4")
        assert row["retention"] == f"{float(numbers[strategy, 'retention', '4']['value']):.3f}"
        assert (row["B right"], row["twin right"]) == (share("victim_accuracy", "4"), share("twin_accuracy", "4"))
        assert row["trust"] == "✔ green"
    assert shown["finetune"]["after 4"].startswith(f"{100 * 14 / 75:.1f} %")
    half = float(numbers["finetune", "half_life", ""]["value"])
    assert 1 < half < 4
    assert shown["finetune"]["half-life"].startswith(f"{half:.1f} [")
    assert shown["finetune(mode=probe)"]["half-life"] == ">4"  # never below half: the largest epoch is a bound
    assert shown["finetune(mode=probe)"]["safe after"] == ">4"


def test_a_backdoor_that_is_gone_has_an_epoch_from_which_on_one_is_safe(tmp_path: Path) -> None:
    shown = left(written(tmp_path, [result((75, 0, 0), floor=(0, 0, 0))])[1])["finetune"]
    lift = next(item for item in summary([result((75, 0, 0), floor=(0, 0, 0))]) if item.metric == "lift" and item.eps)
    assert shown["safe after"] == ("1" if lift.high < 0.05 else ">4")


def test_what_was_not_measured_has_no_column() -> None:
    (_, *blocks) = survival(part([result(view="target", own={"origin_label": torch.zeros(0, dtype=torch.int64),
                                         "origin_clean": torch.zeros(0, dtype=torch.int64),
                                         "origin_stamped": torch.zeros(0, dtype=torch.int64)})]))  # fmt: skip
    assert not {"implanted", "retention", "half-life"} & set(blocks[-1].head)
    assert "after 4" in blocks[-1].head


@pytest.mark.parametrize(
    ("labelled", "share", "note"),
    [(30, "30.0 %", "-"), (23, "39.1 %", "-"), (22, "40.9 %", "half"), (15, "60.0 %", "most"), (9, "100.0 %", "most")],
)
def test_poison_is_counted_and_what_is_no_minority_is_said(labelled: int, share: str, note: str) -> None:
    cells = [result(own={"poison": torch.tensor([10, 9, 1200, labelled])}, strategy=name) for name in ("a", "b")]
    (found,) = poison(part(cells))
    (row,) = found.body  # the same poison under all strategies stands once
    assert row[:7] == ("src → tgt, patch(target=0)", "source", "10", "9", "1,200", "0.8 %", share)
    assert row[7].startswith(note)
    assert ("cannot see it" in row[7]) == (note != "-")


def test_another_poison_of_a_defended_cell_is_told_apart() -> None:
    more = {"poison": torch.tensor([20, 20, 100, 45])}
    (found,) = poison(part([result(), result(defense="strip"), result(defense="spectral", own=more)]))
    assert [row[0].partition("; ")[2] for row in found.body] == ["defense none, strip", "defense spectral"]
    assert [row[3] for row in found.body] == ["9", "20"]


def test_the_worst_class_is_the_one_of_most_lift() -> None:
    lifts = {0: 15, 1: 46, 3: 31}
    cells = [result((75, 60, hits), target=target, attack=f"patch(rate=0.1, target={target})")
             for target, hits in lifts.items()]  # fmt: skip
    (found,) = worst_classes(part([*cells, result(attack="blend(target=1)")]))
    (row,) = found.body
    assert row[:5] == ("src → tgt, patch(rate=0.1), poisoned pre-training", "finetune", "4", "3", "1")
    assert row[5].startswith(f"{100 * 45 / 75:.1f} % [")  # less that of its twin
    assert row[6] == f"{100 * sum(hits - 1 for hits in lifts.values()) / 3 / 75:.1f} %"


def test_one_class_has_no_worst() -> None:
    assert worst_classes(part(CELLS)) == []


def test_same_results_same_bytes(tmp_path: Path) -> None:
    assert written(tmp_path / "a", CELLS) == written(tmp_path / "b", CELLS)
    assert (tmp_path / "a" / "curves.svg").read_bytes() == (tmp_path / "b" / "curves.svg").read_bytes()


def test_each_threat_has_sections_of_its_own_records(tmp_path: Path) -> None:
    page, _ = written(tmp_path, [*grid(), *CELLS])
    titles = re.findall(r"<h2>(.*?)</h2>", page.partition("<script")[0])
    assert [title for title in titles if title.endswith("(backdoor)")] == [
        "Lift and retention (backdoor)", "Poison (backdoor)", "Whole curves (backdoor)", "Other metrics (backdoor)",
    ]  # fmt: skip
    assert "Lineage: who helps the attacker (evasion)" in titles
    assert "Clean accuracy and whole curves (evasion)" in titles


def test_the_made_record_is_what_it_says() -> None:
    made = record((75, 40, 15), (60, 90, 98))
    assert [int((row == 0)[made.label != 0].sum()) for row in made.stamped] == [75, 40, 15]
    assert [int((row == made.label).sum()) for row in made.clean] == [60, 90, 98]
