"""Public checkpoints as roots of the forest: read once, never trained, told by their content."""

import csv
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from by_hand import trained
from safetensors.torch import save_file
from torch import Tensor, nn

from tl_robust import attacks
from tl_robust.bench import runner
from tl_robust.bench.plan import Plan, make_plan
from tl_robust.cli import main
from tl_robust.config import load
from tl_robust.engines.observer import Observer
from tl_robust.errors import ConfigError, DataError, UnknownNameError
from tl_robust.models import build
from tl_robust.models.base import classifier_names
from tl_robust.nodes.crafting import CraftGroup
from tl_robust.nodes.models import WEIGHTS, Public
from tl_robust.nodes.store import Store
from tl_robust.nodes.training import Training
from tl_robust.registry import Component

DTN = Component("dtn", 1, (("width", 0.05),))
QUICK = ["axes.seed=[0]", "recipe.epochs=1", "eps=[0,16/255]", "axes.attack=[fgsm]"]
BENCH = [*QUICK, "axes.pair=['checkpoint:net-made_b']", "axes.strategy=[scratch,finetune]"]


def network(classes: int = 10, width: float = 0.05, seed: int = 3, side: int = 32) -> nn.Module:
    """A network as somebody else may have trained it: BatchNorm has seen images."""
    torch.manual_seed(seed)
    made = build(Component("dtn", 1, (("width", width),)), (3, side, side), classes)
    for _ in range(3):
        made.train()(torch.rand(16, 3, side, side))
    return made.eval()


def save(path: Path, state: Mapping[str, Tensor]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npz":
        np.savez(path, **{name: value.numpy() for name, value in state.items()})
    else:
        save_file(dict(state), path)


@pytest.fixture
def net(tiny: Path) -> Path:
    """The tiny bench with one checkpoint, net.npz beside it; run it with ``data.root`` at its folder."""
    save(tiny.parent / "net.npz", network().state_dict())
    declared = "\ncheckpoints:\n  net: {from: net.npz, network: {name: dtn, width: 0.05}, classes: digits}\n"
    tiny.write_text(tiny.read_text() + declared + f"data: {{root: '{tiny.parent}', cache: ''}}\n")
    return tiny


class Witness(Observer):
    """Counts what was done, and the work that was told of."""

    def __init__(self) -> None:
        self.done: list[tuple[str, str, str]] = []
        self.expected, self.work = Counter[str](), Counter[str]()

    def expect(self, stage: str, items: int, work: int) -> None:
        self.expected[stage] = work

    def advance(self, stage: str, work: int) -> None:
        self.work[stage] += work

    def end(self, stage: str, label: str, seconds: float, note: str) -> None:
        self.done.append((stage, label, note))

    def trained(self) -> list[str]:
        return [label for stage, label, _ in self.done if stage == "training"]


def planned(bench: Path, *overrides: str) -> Plan:
    return make_plan(load(bench, [*BENCH, *overrides]).bench)


def run(bench: Path, *overrides: str) -> tuple[runner.Finished, Witness, Store, Plan]:
    config = load(bench, [*BENCH, *overrides])
    plan, witness, store = make_plan(config.bench), Witness(), Store(bench.parent / "r" / "store")
    return runner.run(plan, config.bench, store, witness), witness, store, plan


def public(plan: Plan) -> Public:
    (found,) = [item for item in plan.trainings if isinstance(item, Public)]
    return found


def crafted(plan: Plan) -> list[str]:
    """Keys of the craft groups."""
    return [node.key for node in plan.nodes if isinstance(node, CraftGroup)]


# a run


@pytest.mark.parametrize("kind", ["npz", "safetensors"])
def test_the_store_holds_the_files_weights(net: Path, kind: str) -> None:
    state = network(seed=5).state_dict()
    save(net.parent / "weights" / f"net.{kind}", state)
    finished, witness, store, plan = run(net, f"checkpoints.net.from=weights/net.{kind}")
    assert not finished.failures
    assert len(finished.results) == 4
    kept = store.load(WEIGHTS, public(plan).key)
    assert kept.keys() == state.keys()
    assert all(torch.equal(kept[name], value) for name, value in state.items())
    assert witness.trained()[0] == "checkpoint:net"
    assert witness.done[0][2] == "read"
    assert len(witness.trained()) == 3  # read once; B from random weights, B from the checkpoint
    assert witness.work == witness.expected


def test_b_learns_from_the_files_weights_and_scratch_does_not(net: Path) -> None:
    _, _, store, plan = run(net, "recipe.lr=1e-8", "recipe.momentum=0", "recipe.weight_decay=0")
    state = network().state_dict()
    for planned_cell in plan.cells:
        child = store.load(WEIGHTS, planned_cell.scene.victim.key)
        near = torch.allclose(child["features.0.weight"], state["features.0.weight"], atol=1e-5)
        last = torch.allclose(child["classifier.weight"], state["classifier.weight"], atol=1e-5)
        assert (near, last) == ((planned_cell.cell.strategy == "finetune"),) * 2


@pytest.mark.parametrize("attack", ["fgsm", "{name: pgd, steps: 2, objective: feature}"])
def test_black_box_crafts_on_the_files_weights(net: Path, attack: str) -> None:
    images = planned(net).cells[0].scene.victim.data.images("test")
    public_net = network()
    with torch.no_grad():  # so that it does not say the same of all images
        public_net.classifier.bias -= public_net(images.images.float() / 255).mean(0)
    save(net.parent / "net.npz", public_net.state_dict())
    finished, _, store, plan = run(net, f"axes.attack=[{attack}]", "axes.view=[black]", "axes.strategy=[finetune]")
    (cell,) = plan.cells
    b = build(DTN, (3, 32, 32), 10)
    b.load_state_dict(store.load(WEIGHTS, cell.scene.victim.key))
    component = cell.play.group.attack
    expected = attacks.evaluate(
        attacks.get(component.name, **dict(component.settings)), surrogate=public_net, victims={"b": b},
        images=images.images, labels=images.labels, eps=[0, 16 / 255],
    )["b"]  # fmt: skip
    outcome = finished.results[0].outcome
    assert torch.equal(outcome.clean_a, expected.clean_a)
    assert (outcome.adv_a == expected.adv_a).double().mean() > 0.97  # rounding may turn a sign
    assert (outcome.adv_b == expected.adv_b).double().mean() > 0.97
    assert (outcome.adv_a[1] != outcome.clean_a).any()
    assert len(outcome.clean_a.unique()) > 2


def test_tables_and_report_name_the_checkpoint(net: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert main(["run", str(net), *BENCH, f"results={tmp_path / 'r'}"]) == 0
    with (tmp_path / "r" / "tiny" / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {(row["source"], row["target"], row["network"]) for row in rows} == {
        ("checkpoint:net", "made_b", "dtn(width=0.05)")
    }
    page = (tmp_path / "r" / "tiny" / "report.html").read_text()
    assert "checkpoint:net → made_b" in page
    assert "net.npz" in page  # where it came from
    assert main(["report", str(net), *BENCH, f"results={tmp_path / 'r'}"]) == 0
    assert main(["plan", str(net), *BENCH, f"results={tmp_path / 'r'}"]) == 0


def test_reading_a_checkpoint_draws_nothing(net: Path) -> None:
    before = torch.get_rng_state()
    trained(public(planned(net)))
    assert torch.equal(before, torch.get_rng_state())


# the key


def test_the_key_follows_the_content_and_not_name_or_place(net: Path) -> None:
    first = planned(net)
    (net.parent / "elsewhere").mkdir()
    (net.parent / "elsewhere" / "other.npz").write_bytes((net.parent / "net.npz").read_bytes())
    moved = planned(net, "checkpoints.net.from=elsewhere/other.npz")
    renamed = planned(
        net,
        "checkpoints={mine: {from: net.npz, network: {name: dtn, width: 0.05}, classes: digits}}",
        "axes.pair=['checkpoint:mine-made_b']",
    )
    assert {t.key for t in first.trainings} == {t.key for t in moved.trainings} == {t.key for t in renamed.trainings}
    assert crafted(first) == crafted(renamed)
    save(net.parent / "net.npz", network(seed=6).state_dict())
    changed = planned(net)
    scratch = {cell.scene.victim.key for cell in first.cells if cell.cell.strategy == "scratch"}
    assert {t.key for t in first.trainings} & {t.key for t in changed.trainings} == scratch


def test_a_file_that_changes_between_runs_leads_to_new_trainings(net: Path) -> None:
    _, first, store, plan = run(net)
    _, again, _, _ = run(net)
    assert (len(first.trained()), again.trained()) == (3, [])
    save(net.parent / "net.npz", network(seed=6).state_dict())
    _, second, _, changed = run(net)
    assert len(second.trained()) == 2  # the file, and B from it; scratch was there
    assert public(changed).key != public(plan).key
    one, other = (store.load(WEIGHTS, public(item).key) for item in (plan, changed))
    assert not torch.equal(one["classifier.weight"], other["classifier.weight"])


def test_a_file_that_changes_during_a_run_is_not_kept_under_the_old_key(net: Path) -> None:
    model = public(planned(net))
    assert model.key  # the plan was made
    save(net.parent / "net.npz", network(seed=6).state_dict())
    with pytest.raises(DataError, match="checkpoint:net changed while the bench ran"):
        trained(model)


def test_seeds_and_strategies_share_the_checkpoint(net: Path) -> None:
    plan = planned(net, "axes.seed=[0,1,2]", "axes.strategy=[scratch,finetune]")
    assert len(plan.trainings) == 1 + 2 * 3
    assert public(plan).labels == tuple("0123456789")
    finetuned = [item for item in plan.trainings if isinstance(item, Training) and item.parent]
    assert {item.parent.key for item in finetuned if item.parent} == {public(plan).key}
    assert len({item.key for item in finetuned}) == 3


def test_a_name_with_a_dash_is_refused(net: Path) -> None:
    declared = "checkpoints={a-b: {from: net.npz, network: {name: dtn, width: 0.05}, classes: digits}}"
    with pytest.raises(ConfigError, match=r"^checkpoints.a-b needs a name without dash, colon and comma\.$"):
        planned(net, declared)


# classes


def test_other_classes_give_b_a_fresh_classifier(net: Path) -> None:
    save(net.parent / "net.npz", network(classes=12).state_dict())
    finished, _, _, plan = run(net, "checkpoints.net.classes=12", "axes.strategy=[finetune]")
    (b,) = {cell.scene.victim.key: cell.scene.victim for cell in plan.cells}.values()
    assert (len(b.labels), b.same_labels) == (10, False)
    black = next(result for result in finished.results if result.cell.view == "black")
    assert not black.outcome.same_labels.any()
    assert black.curves["surrogate_accuracy"].value[0] == 1


def test_as_many_classes_of_other_names_do_too(net: Path) -> None:
    (by_name,) = {cell.scene.victim.same_labels for cell in planned(net).cells if cell.cell.strategy == "finetune"}
    (by_number,) = {
        cell.scene.victim.same_labels
        for cell in planned(net, "checkpoints.net.classes=10").cells
        if cell.cell.strategy == "finetune"
    }
    assert (by_name, by_number) == (True, False)


# under axes.common, and refusals


def test_a_common_checkpoint_starts_both_models(net: Path) -> None:
    common = ["axes.pair=[made_a-made_b]", "axes.strategy=[common_init]", "axes.common=['checkpoint:net']"]
    finished, witness, store, plan = run(net, *common, "recipe.lr=1e-8", "recipe.momentum=0", "recipe.weight_decay=0")
    assert not finished.failures
    assert len(witness.trained()) == 3
    assert {cell.cell.common for cell in plan.cells} == {"checkpoint:net"}
    state, cell = network().state_dict(), plan.cells[0]
    assert isinstance(cell.scene.surrogate, Training)
    assert cell.scene.surrogate.title == "made_a"
    for model in (cell.scene.surrogate, cell.scene.victim):
        kept = store.load(WEIGHTS, model.key)
        assert torch.allclose(kept["classifier.weight"], state["classifier.weight"], atol=1e-5)


def test_common_models_are_finetunes_of_the_checkpoint(net: Path) -> None:
    common = planned(net, "axes.pair=[made_a-made_b]", "axes.strategy=[common_init]", "axes.common=['checkpoint:net']")
    pairs = "axes.pair=['checkpoint:net-made_a','checkpoint:net-made_b']"
    assert {t.key for t in common.trainings} == {
        t.key for t in planned(net, pairs, "axes.strategy=[finetune]").trainings
    }


def test_a_common_checkpoint_needs_the_same_network(net: Path) -> None:
    with pytest.raises(ConfigError, match=r"checkpoint:net under axes.common has the network dtn\(width=0.05\)"):
        planned(
            net, "axes.pair=[made_a-made_b]", "axes.strategy=[common_init]", "axes.common=['checkpoint:net']",
            "axes.network=[{name: dtn, width: 0.1}]",
        )  # fmt: skip


def test_a_strategy_that_would_train_the_checkpoint_is_refused(net: Path) -> None:
    with pytest.raises(ConfigError, match=r"^checkpoint:net is trained already.* from made_c: use it as the source"):
        planned(net, "axes.strategy=[common_init]")


def test_a_strategy_may_give_the_checkpoint_as_victim_where_it_knows_the_targets_classes(net: Path) -> None:
    (net.parent / "plugins" / "swapped.py").write_text(
        "from tl_robust.strategies import STRATEGIES\nfrom tl_robust.strategies.finetune import FineTune\n"
        "@STRATEGIES.register\nclass Swapped(FineTune):\n"
        "    @staticmethod\n    def lineage(train, source, target, common):\n"
        "        return train(target), train(source)\n"
    )
    (victim,) = {cell.scene.victim for cell in planned(net, "axes.strategy=[swapped]").cells}
    assert victim == public(planned(net))
    refused = r"^strategy 'swapped' makes checkpoint:net the victim, which knows other classes than made_b"
    save(net.parent / "net.npz", network(classes=12).state_dict())
    with pytest.raises(ConfigError, match=refused):
        planned(net, "axes.strategy=[swapped]", "checkpoints.net.classes=12")


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["axes.pair=['checkpoint:nett-made_b']"], r"unknown checkpoint .*'nett'; did you mean 'net'\?"),
        (["axes.pair=['checkpoint:net-made_bb']"], r"unknown domain 'made_bb'; did you mean 'made_b'\?"),
        (
            ["axes.pair=[made_a-made_b]", "axes.strategy=[common_init]", "axes.common=['checkpoint:ned']"],
            r"unknown checkpoint .*'ned'; did you mean 'net'\?",
        ),
    ],
)
def test_an_unknown_name_suggests(net: Path, overrides: list[str], sentence: str) -> None:
    with pytest.raises(UnknownNameError, match=sentence):
        planned(net, *overrides)


@pytest.mark.parametrize("pair", ["made_a-checkpoint:net", "checkpoint:net-checkpoint:other", "checkpoint:net"])
def test_a_checkpoint_is_no_target(net: Path, pair: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", str(net), *BENCH, f"axes.pair=['{pair}']"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: unknown ")
    assert "checkpoint" in error


def wider(path: Path) -> str:
    save(path, network(width=0.1).state_dict())
    return "other shapes: features.0.weight: file [6, 3, 5, 5], network [3, 3, 5, 5]"


def renamed(path: Path) -> str:
    state = network().state_dict()
    save(path, {name.replace("classifier", "fc"): value for name, value in state.items()})
    return "missing in the file: classifier.weight, classifier.bias; no place in the network: fc.weight, fc.bias"


def more_classes(path: Path) -> str:
    save(path, network(classes=12).state_dict())
    return "other shapes: classifier.weight: file [12, 26], network [10, 26]"


def broken(path: Path) -> str:
    path.write_bytes(path.read_bytes()[:100])
    return "cannot be read"


def gone(path: Path) -> str:
    path.unlink()
    return "net.npz not found"


@pytest.mark.parametrize("damage", [wider, renamed, more_classes, broken, gone])
def test_a_checkpoint_that_does_not_fit_is_one_sentence_before_anything_trains(
    net: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], damage: Callable[[Path], str]
) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    sentence = damage(net.parent / "net.npz")
    results = net.parent / "r"
    pairs = "axes.pair=[made_a-made_b,'checkpoint:net-made_b']"  # the other pair comes first
    assert main(["run", str(net), *BENCH, pairs, f"results={results}"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: checkpoint ")
    assert error.count("\n") == 1
    assert sentence in error
    left = [path for path in results.rglob("*") if path.is_file() and path.suffix != ".lock"]
    assert {path.name for path in left} <= {"config.yaml"}


def test_the_same_file_in_a_space_it_does_not_fit_is_refused_too(net: Path) -> None:
    """The first layer after the convolutions depends on the side of the images."""
    run(net, "axes.strategy=[finetune]")
    with pytest.raises(DataError, match="other shapes: hidden"):
        run(net, "axes.strategy=[finetune]", "space={name: square, side: 16}")


def test_pairs_that_tables_cannot_tell_apart_are_refused(tiny: Path) -> None:
    pair = (
        "from tl_robust.data.pair import PAIRS, DomainPair\nfrom tl_robust.data.space import SPACES\n"
        "@PAIRS.register\nclass Named(DomainPair):\n    source, target = 'made_a', 'made_b'\n    space = "
    )
    (tiny.parent / "plugins" / "small.py").write_text(pair + "SPACES.component('square', {'side': 16})\n")
    (tiny.parent / "plugins" / "alias.py").write_text(pair + "'digits'\n")
    with pytest.raises(ConfigError, match="two pairs of the same domains"):
        planned(tiny, "axes.pair=[made_a-made_b,small]")
    alone = planned(tiny, "axes.pair=[made_a-made_b]")
    assert planned(tiny, "axes.pair=[made_a-made_b,alias]").cells == alone.cells  # the same cells are one


def test_no_classifier_of_the_file_is_kept_where_classes_differ(net: Path) -> None:
    save(net.parent / "net.npz", network(classes=12).state_dict())
    still = ["recipe.lr=1e-8", "recipe.momentum=0", "recipe.weight_decay=0"]
    _, _, store, plan = run(net, "checkpoints.net.classes=12", "axes.strategy=[finetune]", *still)
    state, child = network(classes=12).state_dict(), store.load(WEIGHTS, plan.cells[0].scene.victim.key)
    last = classifier_names(network())
    for name, value in state.items():
        if value.is_floating_point() and "running" not in name and name not in last:
            assert torch.allclose(child[name], value, atol=1e-5), name
    assert child["classifier.weight"].shape[0] == 10
    assert not torch.allclose(child["classifier.weight"], state["classifier.weight"][:10], atol=1e-2)


# rename


def test_a_renaming_is_reached_from_the_bench_file_and_is_part_of_the_key(net: Path) -> None:
    key = public(planned(net)).key
    assert "rename" not in public(planned(net)).spec
    state = network().state_dict()
    save(net.parent / "net.npz", {f"module.{name.replace('features', 'body')}": value for name, value in state.items()})
    text = net.read_text()
    net.write_text(text.replace("classes: digits}", "classes: digits, rename: {body: features, 'head.0': classifier}}"))
    training = public(planned(net))
    assert training.spec["rename"] == {"body": "features", "head.0": "classifier"}
    assert training.key != key
    weights, _ = trained(training)
    assert all(torch.equal(weights[name], value) for name, value in state.items())
    net.write_text(text)
    with pytest.raises(DataError, match=r"missing in the file: features\.0\.weight"):
        trained(public(planned(net)))


@pytest.mark.parametrize("given", ["[a, b]", "body", "{body: [features]}", "{body: null}", "{body: {a: b}}", "3"])
def test_a_renaming_maps_names_to_names(net: Path, given: str) -> None:
    net.write_text(net.read_text().replace("classes: digits}", f"classes: digits, rename: {given}}}"))
    with pytest.raises(
        ConfigError, match=r"^checkpoints\.net\.rename must map prefixes of the file's names to the net"
    ):
        planned(net)


def test_numbers_are_names_in_a_renaming(net: Path) -> None:
    net.write_text(net.read_text().replace("classes: digits}", "classes: digits, rename: {0: features, 1: 2}}"))
    assert public(planned(net)).checkpoint.rename == (("0", "features"), ("1", "2"))
