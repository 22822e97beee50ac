"""Domains that name their classes differently: a fresh classifier for B, A's own predictions in place of labels."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import torch
from by_hand import trained
from torch import Tensor

from tl_robust.bench import runner
from tl_robust.bench.plan import Plan, make_plan
from tl_robust.cli import main
from tl_robust.config import load
from tl_robust.data.domain import DOMAINS
from tl_robust.data.mapped import _labels, _limited
from tl_robust.models.base import classifier_names
from tl_robust.nodes.hands import seeded
from tl_robust.nodes.store import Store
from tl_robust.nodes.training import Training
from tl_robust.seeding import derive
from tl_robust.strategies.finetune import FineTune

QUICK = ["axes.seed=[0]", "recipe.epochs=1", "eps=[0,16/255]"]
LEARNS = ["recipe.epochs=8", "recipe.batch_size=16", "recipe.lr=0.02", "axes.network=[{name: dtn, width: 0.1}]"]
SEVEN = tuple("abcdefg")
TEN = tuple("abcdefghij")
NOTE = "n/a: the source model has other classes than the target"


def made(bench: Path, name: str, classes: Sequence[str]) -> None:
    """Another tiny domain, with these class names."""
    folder = bench.parent / "plugins"
    text = (folder / "made_a.py").read_text().replace('tuple("0123456789")', repr(tuple(classes)))
    (folder / f"{name}.py").write_text(text.replace("% 10", f"% {len(classes)}"))


@pytest.fixture
def named(tiny: Path) -> Path:
    """The tiny bench with two more domains: made_seven with seven other classes, made_ten with ten other names."""
    made(tiny, "made_seven", SEVEN)
    made(tiny, "made_ten", TEN)
    return tiny


def planned(bench: Path, pair: str, strategy: str = "finetune", *more: str) -> Plan:
    overrides = [f"axes.pair=[{pair}]", f"axes.strategy=[{strategy}]", "axes.attack=[fgsm]", *QUICK, *more]
    return make_plan(load(bench, overrides).bench)


def victim(plan: Plan) -> Training:
    return plan.cells[0].scene.victim


@pytest.mark.parametrize(
    ("pair", "labels", "same"),
    [
        ("made_a-made_b", tuple("0123456789"), True),
        ("made_a-made_seven", SEVEN, False),
        ("made_a-made_ten", TEN, False),  # as many, but others
        ("made_ten-made_a", tuple("0123456789"), False),
        ("made_ten-made_seven", SEVEN, False),
    ],
)
def test_a_domain_without_a_class_of_the_space_keeps_its_own(
    named: Path, pair: str, labels: tuple[str, ...], same: bool
) -> None:
    b = victim(planned(named, pair))
    assert b.labels == labels
    assert b.same_labels == same
    assert int(b.data.images("test").labels.max()) == len(labels) - 1


@pytest.mark.parametrize(
    ("pair", "common", "fresh"),
    [
        ("made_a-made_b", "made_c", {}),
        ("made_a-made_b", "made_ten", {"made_a", "made_b"}),
        ("made_a-made_seven", "made_c", {"made_seven"}),
    ],
)
def test_each_child_of_a_common_model_has_its_own_say(named: Path, pair: str, common: str, fresh: set[str]) -> None:
    plan = planned(named, pair, "common_init", f"axes.common=[{common}]")
    assert {item.title for item in plan.trainings if isinstance(item, Training) and not item.same_labels} == set(fresh)
    black = next(cell for cell in plan.cells if cell.cell.view == "black").play.group
    white = next(cell for cell in plan.cells if cell.cell.view == "white").play.group
    assert black.same_labels == (pair == "made_a-made_b")  # of A and the test set, whatever C's labels are
    assert white.same_labels  # B is always asked for its own classes


def test_the_order_of_names_counts_too(tiny: Path) -> None:
    made(tiny, "made_back", "9876543210")
    made(tiny, "made_again", "0123456789")
    space = "{name: square, side: 16, classes: own}"
    assert victim(planned(tiny, f"{{name: made_a-made_again, space: {space}}}")).same_labels
    assert not victim(planned(tiny, f"{{name: made_a-made_back, space: {space}}}")).same_labels
    assert victim(planned(tiny, "made_a-made_back")).same_labels  # the space puts them in order


def start_of(monkeypatch: pytest.MonkeyPatch, training: Training, parent: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights that a training starts from, before its first step."""
    found: list[dict[str, Tensor]] = []
    initialize = FineTune.initialize

    def spy(self: FineTune, parent: Mapping[str, Tensor] | None) -> None:
        initialize(self, parent)
        found.append({name: value.clone() for name, value in self.network.state_dict().items()})

    monkeypatch.setattr(FineTune, "initialize", spy)
    trained(training, parent)
    monkeypatch.undo()
    return found[0]


@pytest.mark.parametrize(
    ("pair", "fresh"), [("made_a-made_b", False), ("made_a-made_seven", True), ("made_a-made_ten", True)]
)
def test_b_starts_with_a_fresh_classifier_only_where_labels_differ(
    named: Path, monkeypatch: pytest.MonkeyPatch, pair: str, fresh: bool
) -> None:
    b = victim(planned(named, pair))
    assert isinstance(b.parent, Training)
    torch.manual_seed(4)
    parent = {name: value + torch.rand(value.shape) for name, value in b.parent.build().state_dict().items()}
    start = start_of(monkeypatch, b, parent)
    with seeded(derive("weights", b.key)):
        blank = b.build()
    last = classifier_names(blank)
    assert len(last) == 2
    for name, value in start.items():
        expected = blank.state_dict()[name] if fresh and name in last else parent[name].to(value.dtype)
        assert torch.equal(value, expected), name


def test_other_names_are_another_key_for_the_child_alone(tiny: Path) -> None:
    """The same images, as many classes: roots are shared, the fine-tuned model and its outcomes are not."""

    def keys(strategy: str) -> tuple[str, str, dict[str, str]]:
        for kept in (_labels, _limited):
            kept.cache_clear()
        cells = planned(tiny, "made_a-made_b", strategy).cells
        groups = {cell.cell.view: cell.play.group.key for cell in cells}
        return cells[0].scene.surrogate.key, cells[0].scene.victim.key, groups

    before = {name: keys(name) for name in ("scratch", "finetune")}
    DOMAINS["made_b"].classes = TEN
    after = {name: keys(name) for name in ("scratch", "finetune")}
    assert after["scratch"][:2] == before["scratch"][:2]
    assert after["scratch"][2]["white"] == before["scratch"][2]["white"]
    assert after["scratch"][2]["black"] != before["scratch"][2]["black"]  # crafted with A's own predictions
    assert after["finetune"][0] == before["finetune"][0]
    assert after["finetune"][1] != before["finetune"][1]


def run(bench: Path, results: Path, *overrides: str) -> runner.Finished:
    config = load(bench, [*QUICK, *overrides])
    return runner.run(make_plan(config.bench), config.bench, Store(results / "store"))


def test_outcomes_of_a_run_hold_the_surrogates_own_labels(named: Path, tmp_path: Path) -> None:
    attacks = "axes.attack=[fgsm,{name: pgd, steps: 2, objective: feature}]"
    pairs = "axes.pair=[made_a-made_seven,made_seven-made_a]"
    finished = run(named, tmp_path, pairs, attacks, "axes.strategy=[finetune]", *LEARNS)
    assert len(finished.results) == 8
    assert not finished.failures
    for result in finished.results:
        outcome, black = result.outcome, result.cell.view == "black"
        assert bool(outcome.same_labels.all()) != black
        expected = outcome.clean_a if black else outcome.label
        assert torch.equal(outcome.label_a, expected)
        if black:
            classes = 10 if result.cell.source == "made_a" else 7
            assert int(outcome.clean_a.max()) < classes
            assert result.curves["surrogate_accuracy"].value[0] == 1
            assert result.curves["same_mistake"].value.isnan().all()
            assert result.beside.keys() == {"white"}
            assert bool(result.beside["white"].same_labels.all())
    assert any(int(result.outcome.clean_a.max()) > 6 for result in finished.results if result.cell.source == "made_a")


def test_label_and_prediction_craft_the_same_where_labels_differ(named: Path, tmp_path: Path) -> None:
    attacks = "axes.attack=[fgsm,{name: fgsm, objective: prediction}]"
    finished = run(
        named, tmp_path, "axes.pair=[made_a-made_ten]", attacks, "axes.view=[black]", "axes.strategy=[scratch]"
    )
    one, other = finished.results
    assert one.provenance["outcome"] != other.provenance["outcome"]
    for name, value in one.outcome.tensors().items():
        assert torch.equal(value, other.outcome.tensors()[name]), name


def clean_table(report: str) -> dict[str, list[str]]:
    """Pair to the cells of its line in the table of clean accuracies."""
    lines = report.partition("Clean accuracy on the target")[2].partition("\n\n##")[0].partition("\n\n")[2]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines.partition("\n\n")[0].splitlines()]
    return {row[0]: row[1:] for row in rows[2:]}


def test_the_report_gives_no_accuracy_of_a_model_that_has_other_classes(
    named: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    pairs = ["axes.pair=[made_a-made_b,made_a-made_ten]", "axes.strategy=[finetune]", "axes.attack=[fgsm]"]
    overrides = [*pairs, *QUICK, *LEARNS, "axes.seed=[0,1]", f"results={tmp_path / 'r'}"]
    assert main(["run", str(named), *overrides]) == 0
    report = (tmp_path / "r" / "tiny" / "report.md").read_text()
    table = clean_table(report)
    assert table["made_a → made_ten"][2] == "n/a"
    assert "%" in table["made_a → made_ten"][1]
    assert "%" in table["made_a → made_b"][2]
    assert NOTE in report
    with (tmp_path / "r" / "tiny" / "table.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["target"] == "made_ten" and row["view"] == "black"]
    assert {row["value"] for row in rows if row["metric"] == "same_mistake"} == {"nan"}
    first = [row["value"] for row in rows if row["metric"] == "surrogate_accuracy" and row["eps"] == "0"]
    assert first == ["1", "1"]
    assert {row["trust"] for row in rows} <= {"green", "amber"}


def test_a_report_without_such_a_pair_says_nothing_of_it(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    overrides = ["axes.strategy=[scratch]", "axes.attack=[fgsm]", *QUICK, f"results={tmp_path / 'r'}"]
    assert main(["run", str(tiny), *overrides]) == 0
    report = (tmp_path / "r" / "tiny" / "report.md").read_text()
    assert "%" in clean_table(report)["made_a → made_b"][2]
    assert NOTE not in report
