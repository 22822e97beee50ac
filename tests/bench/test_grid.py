"""The grid's newer axes: images that B learns from, and settings of strategies."""

import csv
from pathlib import Path

import pytest
import torch
from rich.console import Console

from tl_robust.bench import runner
from tl_robust.bench.plan import Plan, PlannedCell, make_plan
from tl_robust.cli import main
from tl_robust.cli.terminal import accuracy_tables
from tl_robust.config import load
from tl_robust.errors import DataError
from tl_robust.nodes.crafting import CraftGroup
from tl_robust.nodes.models import WEIGHTS
from tl_robust.nodes.store import Store
from tl_robust.nodes.training import Training
from tl_robust.results import table
from tl_robust.results.names import Names

QUICK = ["axes.seed=[0]", "recipe.epochs=1", "recipe.val_share=0.5", "eps=[0,16/255]", "axes.attack=[fgsm]"]
PARTS = "axes.target_images=[0.25,40,1]"  # of 80: 20, 40, 80
MODES = "axes.strategy=[finetune,{name: finetune, mode: probe},{name: finetune, blocks: 2}]"


def planned(bench: Path, *overrides: str) -> Plan:
    return make_plan(load(bench, [*QUICK, *overrides]).bench)


def run(bench: Path, *overrides: str) -> tuple[runner.Finished, Store, Plan]:
    config = load(bench, [*QUICK, *overrides])
    plan, store = make_plan(config.bench), Store(bench.parent / "r" / "store")
    return runner.run(plan, config.bench, store), store, plan


def black(plan: Plan) -> list[PlannedCell]:
    return [cell for cell in plan.cells if cell.cell.view == "black"]


def learned(plan: Plan) -> list[tuple[str, int, bool]]:
    """Domain, number of images and whether from a parent, of each training."""
    return sorted(
        (item.title, len(item.data.images("train")), item.parent is not None)
        for item in plan.trainings
        if isinstance(item, Training)
    )


# target_images


@pytest.mark.parametrize(
    ("strategy", "roots", "children"),
    [
        ("scratch", {("made_a", 80)}, set()),
        ("finetune", {("made_a", 80)}, {"made_b"}),
        ("common_init", {("made_c", 80)}, {"made_b"}),
    ],
)
def test_only_b_learns_from_fewer_images(
    tiny: Path, strategy: str, roots: set[tuple[str, int]], children: set[str]
) -> None:
    plan = planned(tiny, f"axes.strategy=[{strategy}]", PARTS)
    assert len(plan.cells) == 6
    assert len({cell.scene.surrogate.key for cell in plan.cells}) == 1
    assert len({cell.scene.victim.key for cell in plan.cells}) == 3
    found = learned(plan)
    of_b = [(count, child) for title, count, child in found if title == "made_b"]
    assert of_b == [(20, bool(children)), (40, bool(children)), (80, bool(children))]
    others = [item for item in found if item[0] != "made_b"]
    assert {(title, count) for title, count, child in others if not child} == roots
    assert len(others) == (2 if strategy == "common_init" else 1)
    assert all(count == 80 for _, count, _ in others)


def test_all_strategies_together_share_what_they_can(tiny: Path) -> None:
    plan = planned(tiny, "axes.strategy=[scratch,finetune,common_init]", PARTS)
    assert len(plan.cells) == 18
    assert len(plan.trainings) == 3 + 9  # A, C, A from C; B three times from nothing, from A and from C
    alone = planned(tiny, "axes.strategy=[scratch,finetune,common_init]")
    assert {item.key for item in alone.trainings} < {item.key for item in plan.trainings}


def test_a_craft_group_on_a_judges_every_b(tiny: Path) -> None:
    plan = planned(tiny, "axes.strategy=[scratch,finetune]", PARTS)
    assert len({cell.play.group.key for cell in black(plan)}) == 1
    assert sorted(len(node.victims) for node in plan.nodes if isinstance(node, CraftGroup)) == [1] * 6 + [6]
    tests = {cell.play.group.spec["images"] for cell in plan.cells}
    assert len(tests) == 1  # the test set stays whole


def test_smaller_parts_lie_inside_larger_ones(tiny: Path) -> None:
    plan = planned(tiny, "axes.strategy=[scratch]", PARTS)
    parts = {cell.cell.target_images: cell.scene.victim.data.images("train").images.flatten(1) for cell in plan.cells}
    assert set(parts) == {20, 40, 80}
    rows = {count: {bytes(row.numpy()) for row in images} for count, images in parts.items()}
    assert rows[20] < rows[40] < rows[80]


def test_a_share_and_a_number_of_the_same_images_are_one_cell(tiny: Path) -> None:
    plan = planned(tiny, "axes.strategy=[scratch]", "axes.target_images=[0.5,40,80,1]")
    assert [cell.cell.target_images for cell in black(plan)] == [40, 80]
    whole = planned(tiny, "axes.strategy=[scratch]")
    assert {cell.key for cell in whole.cells} < {cell.key for cell in plan.cells}


@pytest.mark.parametrize("part", ["81", "0.001"])
def test_parts_that_cannot_be_are_one_sentence(tiny: Path, part: str) -> None:
    with pytest.raises(DataError) as caught:
        planned(tiny, "axes.strategy=[scratch]", f"axes.target_images=[{part}]")
    assert "\n" not in str(caught.value)
    assert "made_b" in str(caught.value)


def test_the_pair_of_two_numbers_is_kept_apart_in_every_view(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    overrides = [*QUICK, "axes.strategy=[scratch,finetune]", "axes.target_images=[0.5,1]", "axes.seed=[0,1]"]
    assert main(["run", str(tiny), *overrides, f"results={tmp_path / 'r'}"]) == 0
    with (tmp_path / "r" / "tiny" / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["target_images"] for row in rows} == {"40", "80"}
    places = [
        tuple(value for name, value in row.items() if name not in ("value", "low", "high", "n", "trust"))
        for row in rows
    ]
    assert len(set(places)) == len(places)
    with (tmp_path / "r" / "tiny" / "summary.csv").open() as file:
        found = [row for row in csv.DictReader(file) if row["metric"] == "robust_accuracy"]
    assert len(found) == 2 * 2 * 2 * 2  # numbers, strategies, views, eps
    assert {row["n"] for row in found} == {"160"}  # two seeds of 80, not four
    report = (tmp_path / "r" / "tiny" / "report.md").read_text()
    for count in (40, 80):
        assert f"made_a → made_b ({count} target images), fgsm linf" in report


def test_the_terminal_has_a_table_for_each_number(tiny: Path) -> None:
    finished, _, _ = run(tiny, "axes.strategy=[scratch,finetune]", "axes.target_images=[0.5,1]")
    console = Console(width=120, record=True, file=(tiny.parent / "out").open("w"))
    for part in accuracy_tables(table.summary(finished.results)):
        console.print(part)
    text = " ".join(console.export_text().split())
    console.file.close()
    assert "made_a → made_b (40 target images)" in text
    assert "made_a → made_b (80 target images)" in text
    assert text.count("finetune") == 4


def test_images_are_named_only_where_one_pair_has_several(tiny: Path) -> None:
    parts = planned(tiny, "axes.strategy=[scratch]", "axes.target_images=[0.5,1]")
    whole = planned(tiny, "axes.strategy=[scratch]")
    assert Names.of(cell.cell for cell in parts.cells).images
    assert not Names.of(cell.cell for cell in whole.cells).images
    (half,) = {cell.cell for cell in black(parts) if cell.cell.target_images == 40}
    (full,) = {cell.cell for cell in black(parts) if cell.cell.target_images == 80}
    names = Names.of([half, full])
    assert names.group(half) != names.group(full)
    assert names.strategy(half) == names.strategy(full)


# settings of strategies


def test_settings_are_in_labels_and_keys(tiny: Path) -> None:
    plan = planned(tiny, MODES)
    labels = [cell.cell.strategy for cell in black(plan)]
    assert labels == ["finetune", "finetune(mode=probe)", "finetune(blocks=2)"]
    assert len({cell.scene.victim.key for cell in black(plan)}) == 3
    assert len({cell.scene.surrogate.key for cell in black(plan)}) == 1  # a root has no settings
    assert len(plan.trainings) == 4
    assert {str(cell.scene.victim.by) for cell in black(plan)} == set(labels)
    assert "finetune(mode=probe) made_b from made_a" in str(black(plan)[1].scene.victim)


def test_settings_that_are_the_defaults_change_nothing(tiny: Path) -> None:
    written = "axes.strategy=[{name: finetune, mode: full, blocks: 0, classifier: copied}]"
    one, other = planned(tiny, "axes.strategy=[finetune]"), planned(tiny, written)
    assert [cell.key for cell in one.cells] == [cell.key for cell in other.cells]
    assert other.cells[0].cell.strategy == "finetune"


def test_common_init_shares_trainings_with_finetune_of_the_same_settings(tiny: Path) -> None:
    for settings in ("", ", mode: full", ", mode: probe"):
        common = planned(tiny, f"axes.strategy=[{{name: common_init{settings}}}]")
        pairs = "axes.pair=[made_c-made_a,made_c-made_b]"
        finetune = planned(tiny, f"axes.strategy=[{{name: finetune{settings}}}]", pairs)
        assert {item.key for item in common.trainings} == {item.key for item in finetune.trainings}, settings
    plain = planned(tiny, "axes.strategy=[common_init]")
    probe = planned(tiny, "axes.strategy=[{name: common_init, mode: probe}]")
    shared = {item.key for item in plain.trainings} & {item.key for item in probe.trainings}
    assert shared == {item.key for item in plain.trainings if item.parent is None}


def test_probe_keeps_the_features_of_a_bit_for_bit(tiny: Path) -> None:
    finished, store, plan = run(tiny, MODES, "recipe.epochs=2")
    assert not finished.failures
    a = store.load(WEIGHTS, plan.cells[0].scene.surrogate.key)
    same = {}
    for cell in black(plan):
        b = store.load(WEIGHTS, cell.scene.victim.key)
        same[cell.cell.strategy] = {name for name, value in b.items() if torch.equal(value, a[name])}
    probed = same["finetune(mode=probe)"]
    assert probed == {name for name in a if not name.startswith("classifier.")}
    assert "features.1.running_mean" in probed
    assert not same["finetune"]
    kept = same["finetune(blocks=2)"]
    assert {"features.0.weight", "features.5.running_mean"} <= kept
    assert not {"features.8.weight", "hidden.0.weight"} & kept


def test_curves_of_settings_are_kept_apart(tiny: Path) -> None:
    finished, _, _ = run(tiny, MODES)
    summary = table.summary(finished.results)
    names = Names.of(row.cell for row in summary)
    assert {names.strategy(row.cell) for row in summary} == {"finetune", "finetune(mode=probe)", "finetune(blocks=2)"}
    assert len(finished.results) == 6
    assert len({result.key for result in finished.results}) == 6


def test_both_axes_together(tiny: Path) -> None:
    plan = planned(tiny, MODES, PARTS, "axes.seed=[0,1]")
    assert len(plan.cells) == 3 * 3 * 2 * 2
    assert len(plan.trainings) == 2 * (1 + 9)
    assert len({cell.cell for cell in plan.cells}) == len(plan.cells)
