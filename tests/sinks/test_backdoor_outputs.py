"""What a backdoor bench shows outside its report: the answer, the terminal, shared files, comparisons, W&B."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.sinks.backdoor_made import EPOCHS, backdoor, stamped, with_record
from tests.sinks.wandb_made import BENCH, no_account, of_type, records, runs, summary_of
from tl_robust.cli.screen import Screen
from tl_robust.cli.terminal import accuracy_tables
from tl_robust.errors import ResultsError
from tl_robust.results import answer, difference, leaderboard, table
from tl_robust.results.difference import Side
from tl_robust.results.faces import FACES
from tl_robust.results.means import mean_rows
from tl_robust.results.names import interval, measured, number
from tl_robust.results.packing import pack, unpack
from tl_robust.results.table import Row
from tl_robust.sinks.wandb import dashboard
from tl_robust.sinks.wandb.panels import Shown
from tl_robust.sinks.wandb.runs import WandbSettings, publish
from tl_robust.types import Result, Stamped

__all__ = ["no_account"]  # a fixture that all tests use

FACE = FACES["backdoor"]


def percent(hits: torch.Tensor) -> str:
    return f"{100 * int(hits.sum()) / len(hits):.1f}"


def counted(result: Result) -> dict[str, list[str]]:
    """Percent at each epoch, counted image by image from the records."""
    record, twin = result.outcome, result.beside["twin"]
    others = [place for place, label in enumerate(record.label.tolist()) if label != 3]
    found: dict[str, list[str]] = {"success": [], "floor": [], "accuracy": [], "twin": []}
    for k in range(len(EPOCHS)):
        found["success"].append(percent(record.stamped[k, others] == 3))
        found["floor"].append(percent(twin.stamped[k, others] == 3))
        found["accuracy"].append(percent(record.clean[k] == record.label))
        found["twin"].append(percent(twin.clean[k] == record.label))
    return found


# words


def test_the_answer_is_told_after_the_last_epoch_and_never_without_floor_and_accuracy() -> None:
    cells = [backdoor(strategy=name)[0] for name in ("finetune", "finetune(mode=probe)")]
    (one,) = answer.said(table.summary(cells))
    (line,) = one.lines
    assert line.startswith(
        "Poisoned pre-training at epoch 10, images of other classes that the trigger sends to the attacker's class: "
    )
    for cell in cells:
        facts = {name: values[-1] for name, values in counted(cell).items()}
        told = line.partition(f"{cell.cell.strategy} {facts['success']} % [")[2]
        assert told, cell.cell.strategy
        notes = (
            f"(amber; clean twin {facts['floor']} %, accuracy {facts['accuracy']} %, "
            f"accuracy of the twin {facts['twin']} %)"
        )
        assert told.partition("] ")[2].startswith(notes)
    success = [float(counted(cell)["success"][-1]) for cell in cells]
    first = cells[0] if success[0] > success[1] else cells[1]
    assert line.index(f" {first.cell.strategy} ") == min(line.index(f" {cell.cell.strategy} ") for cell in cells)
    assert answer.lines(table.summary(cells), [], 1)[0].startswith("patch(target=3), poisoned pre-training at epoch 10")


def test_what_was_not_measured_is_left_out_of_the_answer() -> None:
    result, _ = backdoor()
    rows = [row for row in table.summary([result]) if row.metric != "twin_accuracy"]
    (line,) = answer.said(rows)[0].lines
    assert "accuracy of the twin" not in line
    assert "clean twin" in line
    alone = [replace(row, trust="green") for row in rows if row.metric == "attack_success"]
    assert "(" not in answer.said(alone)[0].lines[0]


def test_the_last_epoch_is_one_that_all_strategies_have() -> None:
    long, short = (table.summary([backdoor(strategy=name)[0]]) for name in ("finetune", "other"))
    (one,) = answer.said([*long, *(row for row in short if row.eps != 10)])
    assert one.lines[0].startswith("Poisoned pre-training at epoch 1,")
    apart = [replace(row, eps=7.0) for row in short if row.eps == 10]
    assert answer.said([*(row for row in long if row.eps == 10), *apart])[0].lines[0].count("epoch 10") == 1


def test_the_terminal_has_the_floor_and_both_accuracies_below_each_curve(capsys: pytest.CaptureFixture[str]) -> None:
    result, _ = backdoor()
    for item in accuracy_tables(table.summary([result])):
        Screen().print(item)
    shown = [line.split() for line in capsys.readouterr().out.splitlines()]
    facts = counted(result)
    assert ["view", "strategy,", "at", "epoch", "0", "1", "10"] in shown
    assert ["source", "finetune", *facts["success"]] in shown
    assert ["clean", "twin", *facts["floor"]] in shown
    assert ["accuracy", *facts["accuracy"]] in shown
    assert ["accuracy", "of", "the", "twin", *facts["twin"]] in shown


def test_a_large_bench_still_fits_one_screen() -> None:
    many = [backdoor(attack=f"patch(target={t})")[0] for t in range(12)]
    *tables, last = accuracy_tables(table.summary(many))
    assert last == "12 tables in all: see summary.csv"
    assert [each.row_count for each in tables if not isinstance(each, str)] == [4] * 10


@pytest.mark.parametrize(
    ("value", "unit", "bare", "whole"),
    [
        (0.2074, "share", "20.7", "20.7 %"),
        (-0.004, "share", "-0.4", "-0.4 %"),
        (2.04, "epochs", "2.0", "2.0 epochs"),
        (360.0, "images", "360", "360 images"),
        (1.2345, "ratio", "1.234", "1.234"),
        (0.03137, "eps", "0.0314", "0.0314"),
        (-0.00001, "images", "0", "0 images"),
        (math.nan, "epochs", "n/a", "n/a"),
        (7.5, "of_a_plugin", "7.500", "7.500"),
    ],
)
def test_numbers_read_in_their_unit(value: float, unit: str, bare: str, whole: str) -> None:
    assert (number(value, unit), measured(value, unit)) == (bare, whole)


def test_intervals_read_in_their_unit() -> None:
    cell = backdoor()[0].cell

    def shown(metric: str, *values: float) -> str:
        value, low, high = values
        return interval(Row(cell, None, metric, value, 54, low, high, "green", ""))

    assert shown("half_life", 1.5, 1.0, 3.25) == "1.5 epochs [1.0, 3.2]"
    assert shown("safe_after", 4.0, math.nan, math.nan) == "4.0 epochs [n/a]"
    assert shown("safe_after", *[math.nan] * 3) == "n/a"
    assert shown("poisoned_images", 360.0, 360.0, 360.0) == "360 images [360, 360]"
    assert shown("lift", -0.01, -0.03, 0.02) == "-1.0 % [-3.0, 2.0]"


# tables


def test_tables_name_threat_and_axis(tmp_path: Path) -> None:
    result, _ = backdoor()
    table.write(tmp_path / "table.csv", table.rows(result), table.COLUMNS)
    rows = table.read(tmp_path / "table.csv")
    assert {(row.cell.threat, row.axis, row.cell.norm, row.cell.view) for row in rows} == {
        ("backdoor", "epochs", "", "source")
    }
    success = {row.eps: row.value for row in rows if row.metric == "attack_success"}
    assert [f"{100 * success[epoch]:.1f}" for epoch in EPOCHS] == counted(result)["success"]
    whole = {row.metric for row in rows if row.eps is None}
    assert {"half_life", "safe_after", "implanted", "poisoned_images"} <= whole


def test_means_of_rows_know_counts_readings_and_places_on_the_axis() -> None:
    results = [backdoor(seed)[0] for seed in range(3)]
    rows = [row for result in results for row in table.rows(result)]
    means = {(row.metric, row.eps): row for row in mean_rows(rows)}
    poisoned = means["poisoned_images", None]
    assert (poisoned.value, poisoned.low, poisoned.high) == (30, 30, 30), "a count is known"
    assert math.isnan(means["safe_after", None].value), "single seeds do not say after which epoch their mean is safe"
    half = [replace(row, value=value, low=0.0, high=10.0) for value, row in zip(
        (0.5, 9.0, 9.5), (row for row in rows if row.metric == "half_life"), strict=True)]  # fmt: skip
    found = {(row.metric, row.eps): row for row in mean_rows([*(r for r in rows if r.metric != "half_life"), *half])}
    assert found["half_life", None].value == pytest.approx(19 / 3)
    assert (found["half_life", None].low, found["half_life", None].high) == (0, 10), "no epoch that nobody trained"
    low = [replace(row, value=-0.5, low=-0.9, high=0.1) for row in rows if row.metric == "lift" and row.eps == 10]
    (lift,) = mean_rows(low)
    assert -1 <= lift.low < -0.5, "lift may be below 0"
    one = {(row.metric, row.eps): row.value for row in mean_rows(table.rows(results[0]))}
    assert one["safe_after", None] == pytest.approx(results[0].curves["safe_after"].value.item(), nan_ok=True)


# shared files


def written(folder: Path, *cells: Any, samples: bool = True) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in leaderboard.write(folder, cells, samples)]


def lines(folder: Path, rows: Sequence[Row], columns: Sequence[str]) -> bytes:
    table.write(folder / "rows.csv", rows, columns)
    return (folder / "rows.csv").read_bytes()


@pytest.mark.parametrize("sifted", [False, True])
def test_records_come_back_bit_for_bit(sifted: bool) -> None:
    before = stamped("packed", hit=0.5, sifted=sifted)
    after = unpack(Stamped, json.loads(json.dumps(pack(before))))
    for name, tensor in before.tensors().items():
        assert after.tensors()[name].dtype == tensor.dtype
        assert after.tensors()[name].shape == tensor.shape, name
        assert torch.equal(after.tensors()[name], tensor), name
    assert after.target.shape == ()
    assert len(after.sifted_score) == (300 if sifted else 0)


@pytest.mark.parametrize("sifted", [False, True])
def test_merged_files_give_the_same_tables(tmp_path: Path, sifted: bool) -> None:
    found = [backdoor(seed, strategy, sifted) for strategy in ("finetune", "probe") for seed in (0, 1)]
    found = [(result, replace(origin, position=place)) for place, (result, origin) in enumerate(found)]
    results = [result for result, _ in found]
    written(tmp_path / "board", *found)
    board = leaderboard.read([tmp_path / "board"])
    rows = [row for result in results for row in table.rows(result)]
    assert lines(tmp_path, board.rows, table.COLUMNS) == lines(tmp_path, rows, table.COLUMNS)
    summary = table.summary(results)
    assert lines(tmp_path, board.summary, table.SUMMARY_COLUMNS) == lines(tmp_path, summary, table.SUMMARY_COLUMNS)
    again = {result.key: result for result in board.results}
    for result in results:
        other = again[result.key]
        assert other.beside.keys() == {"twin", "plain", "woken", "woken_twin"}
        for name, record in {**result.beside, "outcome": result.outcome}.items():
            back = other.outcome if name == "outcome" else other.beside[name]
            assert all(torch.equal(back.tensors()[field], tensor) for field, tensor in record.tensors().items())
    moved = difference.compare(Side.of_results("a", results), Side.of_results("b", board.results))
    assert not any(both.moved for both in moved.numbers)
    assert all(both.change == 0 or math.isnan(both.change) for both in moved.numbers)
    assert all(both.paired for both in moved.numbers)


def test_without_samples_the_numbers_are_as_stated(tmp_path: Path) -> None:
    found = [backdoor(seed, sifted=True) for seed in (0, 1)]
    written(tmp_path / "board", *found, samples=False)
    board = leaderboard.read([tmp_path / "board"])
    rows = [row for result, _ in found for row in table.rows(result)]
    assert board.results == []
    assert lines(tmp_path, board.rows, table.COLUMNS) == lines(tmp_path, rows, table.COLUMNS)
    means = {(row.metric, row.eps): row for row in board.summary}
    assert means["attack_success", 10.0].value == pytest.approx(
        sum(result.curves["attack_success"].value[2].item() for result, _ in found) / 2
    )


TWIN = ("samples", "twin")
DROP = object()
MADE = stamped("x", hit=0.1)
OTHER_IMAGES = pack(replace(MADE, sample_id=torch.arange(60)))
OTHER_EPOCHS = pack(stamped("x", hit=0.1, epochs=(0.0, 1.0)))
WRONG: list[tuple[str, Sequence[Any], object]] = [
    ("samples.twin are not those of samples.outcome", TWIN, OTHER_IMAGES),
    ("samples.plain are not those of samples.outcome", ("samples", "plain"), OTHER_EPOCHS),
    ("samples.woken are not those of samples.outcome", ("samples", "woken"), OTHER_EPOCHS),
    ("n 1 of metrics.implanted is stated as", ("metrics", "implanted", "n", 0), 999),
    ("value 1 of metrics.half_life is stated as", ("metrics", "half_life", "value", 0), 9.99),
    ("whole numbers of at most 100000000", ("metrics", "implanted", "n", 0), 10**9),
    ("lift is stated as 61, but its samples give 54", ("metrics", "lift", "n", 0), 61),
    ("is a share and must be in [-1, 1]", ("metrics", "lift", "value", 0), -1.5),
    ("is a share and must be in [0, 1]", ("metrics", "attack_success", "value", 0), -0.5),
    ("needs samples.twin", TWIN, DROP),
    ("value 1 of metrics.clean_cost is stated as", TWIN, pack(MADE)),
    ("target must have shape ()", (*TWIN, "target", "shape"), [1]),
    ("target has not the 1 bytes", (*TWIN, "target", "data"), pack(MADE)["size_l2"]["data"]),
    ("must have shape", (*TWIN, "origin_clean"), pack(MADE)["label"]),
    ("another metric here, in epochs", ("metrics", "half_life", "unit"), "eps"),
    ("unit: 'Epochs!' does not match", ("metrics", "half_life", "unit"), "Epochs!"),
    ("key is not that of its coordinates", ("cell", "threat"), "evasion"),
    ("key is not that of its coordinates", ("provenance", "beside", "twin"), "0" * 64),
]


@pytest.mark.parametrize(("said", "keys", "value"), WRONG, ids=range(len(WRONG)))
def test_what_does_not_fit_is_refused_in_one_sentence(
    tmp_path: Path, said: str, keys: Sequence[Any], value: object
) -> None:
    (content,) = written(tmp_path, backdoor(), samples=True)
    part: Any = content
    for key in keys[:-1]:
        part = part[key]
    part[keys[-1]] = value
    if value is DROP:
        del part[keys[-1]]
    (tmp_path / f"{content['key']}.json").write_text(json.dumps(content))
    with pytest.raises(ResultsError) as caught:
        leaderboard.read([tmp_path])
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_records_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    (content,) = written(tmp_path, backdoor())
    few = {name: getattr(MADE, name)[:9] for name in ("origin_label", "origin_clean", "origin_stamped")}
    content["samples"]["twin"] = pack(replace(MADE, **few))
    content["metrics"] = {"implanted": content["metrics"]["implanted"]}
    (tmp_path / f"{content['key']}.json").write_text(json.dumps(content))
    with pytest.raises(ResultsError, match=r"metrics\.implanted cannot be computed from its samples"):
        leaderboard.read([tmp_path])


# comparisons


def test_a_bench_of_other_trainings_is_compared_with_both_records_image_by_image() -> None:
    ours = [backdoor(seed)[0] for seed in range(4)]
    theirs = [with_record(result, stamped=torch.where(torch.arange(60) % 2 == 0, 3, result.outcome.label).expand(3, -1))
              for result in ours]  # fmt: skip
    found = difference.compare(Side.of_results("a", ours), Side.of_results("b", theirs), ["lift", "attack_success"])
    assert all(both.paired for both in found.numbers)
    others = ours[0].outcome.others
    for both in found.numbers:
        place = EPOCHS.index(both.first.eps or 0.0)
        changes = [float(((b.outcome.hit[place].double() - a.outcome.hit[place].double())[others]).mean())
                   for a, b in zip(ours, theirs, strict=True)]  # fmt: skip
        assert both.change == pytest.approx(sum(changes) / len(changes)), "the twin is the same and falls out"
    assert any(both.moved for both in found.numbers)


def test_other_images_of_the_source_make_no_pair() -> None:
    ours = [backdoor(seed)[0] for seed in range(3)]
    theirs = [with_record(result, origin_label=(result.outcome.origin_label + 1) % 10) for result in ours]
    found = difference.compare(Side.of_results("a", ours), Side.of_results("b", theirs), ["implanted"])
    assert [both.paired for both in found.numbers] == [False]


def test_the_table_of_a_comparison_has_no_empty_norm(capsys: pytest.CaptureFixture[str]) -> None:
    ours = [backdoor(seed)[0] for seed in range(2)]
    found = difference.compare(Side.of_results("a", ours), Side.of_results("b", ours), ["attack_success"])
    for item in difference.tables(found, found.numbers):
        Screen().print(item)
    shown = capsys.readouterr().out
    assert "epochs" in shown
    assert "eps" not in shown
    assert str(ours[0].cell).startswith("backdoor, a to b (300 images), finetune, patch(target=3), source, seed 0")


# Weights & Biases


def test_a_run_has_one_row_an_epoch_on_its_own_axis(tmp_path: Path) -> None:
    cells = [backdoor(seed, sifted=True)[0] for seed in (0, 1)]
    published = publish(cells, BENCH, tmp_path, WandbSettings(mode="offline"))
    assert (published.written, published.problems) == (2, ())
    grids = set()
    for file in runs(tmp_path):
        found = records(file)
        items = [record["item"] for record in of_type(found, "history")]
        grids.add(tuple(item["epochs"] for item in items))
        key = of_type(found, "run")[0]["run_id"]
        (cell,) = [one for one in cells if one.key == key]
        facts = counted(cell)
        for name, metric in (
            ("success", "attack_success"),
            ("floor", "false_trigger"),
            ("accuracy", "victim_accuracy"),
        ):
            assert [f"{100 * item[f'backdoor/{metric}']:.1f}" for item in items] == facts[name]
        assert [item["success/poisoned_pre-training"] for item in items] == [
            item["backdoor/attack_success"] for item in items
        ]
        assert all({"backdoor/lift", "backdoor/lift_low", "backdoor/twin_accuracy"} <= item.keys() for item in items)
        steps = {one["glob_name"]: one["step_metric"] for one in of_type(found, "metric") if "glob_name" in one}
        assert steps == {"backdoor/*": "epochs", "success/*": "epochs"}
        summary = summary_of(found)
        assert (f"{100 * summary['clean_accuracy']:.1f}", summary["n"]) == (facts["accuracy"][-1], 60)
        assert summary["poisoned_images"] == 30
        assert summary["at/10/attack_success"] == items[-1]["backdoor/attack_success"]
        config = of_type(found, "run")[0]["config"]["update"]
        assert (config["threat"], config["curve"][-16:]) == ("backdoor", "patch(target=3)"[-16:].rjust(16))
    assert grids == {EPOCHS}


def test_every_key_of_the_dashboard_is_one_that_runs_have(tmp_path: Path) -> None:
    publish([backdoor()[0]], BENCH, tmp_path, WandbSettings(mode="offline"))
    found = records(runs(tmp_path)[0])
    known = {f"config:{name}" for name in of_type(found, "run")[0]["config"]["update"]}
    known |= {f"summary:{name}" for name in summary_of(found)} | {"summary:safe_after"}  # undefined in this cell
    known |= {name for record in of_type(found, "history") for name in record["item"]}
    spec = dashboard.spec(["small"], WandbSettings(), [Shown(FACE, EPOCHS, ("source",), several=False)])
    keys = dashboard.keys(spec)
    assert {key for key in keys if "overview/" not in key} <= known
    assert {key for key in keys if "overview/" in key} == {
        f"overview/{name}" for name in ("curves", "report", "claims", "answer", "trust")
    }
    panels = [panel for section in spec["sections"] for panel in section["panels"]]
    shown = {panel["y"] for panel in panels if panel["kind"] == "line"}
    assert {
        "success/poisoned_pre-training",
        "backdoor/lift",
        *(f"backdoor/{metric}" for metric in FACE.beside),
    } <= shown
    assert {(panel["x"], tuple(panel["range_x"])) for panel in panels if panel["kind"] == "line"} == {
        ("epochs", (0.0, 10.0))
    }
    assert ("clean_accuracy", "at/10/attack_success") in {
        (panel["x"], panel["y"]) for panel in panels if panel["kind"] == "scatter"
    }


def test_a_dashboard_without_a_grid_leaves_its_ends_open() -> None:
    spec = dashboard.spec(["small"], WandbSettings(), [Shown(FACE, (), ("source",), several=False)])
    lines_of = [panel for section in spec["sections"] for panel in section["panels"] if panel["kind"] == "line"]
    assert {tuple(panel["range_x"]) for panel in lines_of} == {(None, None)}
    assert not [name for name in spec["runs"]["columns"] if "at/" in name]
