"""Defended cells of a bench: every place where a defense acts, the worst case, and models that others trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tl_robust.bench import runner
from tl_robust.bench.plan import Plan, make_plan
from tl_robust.config import load
from tl_robust.errors import ConfigError
from tl_robust.nodes.crafting import OUTCOMES
from tl_robust.nodes.guarded import GUARDS, Guarded
from tl_robust.nodes.hands import Hands
from tl_robust.nodes.models import WEIGHTS
from tl_robust.nodes.store import Store
from tl_robust.nodes.training import Snapshot, Training

QUICK = ["axes.seed=[0]", "recipe.epochs=2", "eps=[0,16/255]", "axes.attack=[{name: pgd, steps: 3}]", "workers=1"]
EVERYWHERE = """
from dataclasses import dataclass
import torch
from torch.nn.functional import cross_entropy
from tl_robust.defenses import DEFENSES, Adaptive, Defense, Lineage
from tl_robust.models.guard import Guard

SAID = []

@DEFENSES.register
@dataclass(frozen=True)
class Everywhere(Defense):
    def adaptive(self):
        return (Adaptive("The attack sees all of it."),)
    def lineage(self, train, a, b):
        victim = train(b.data, parent=b.parent, by=b.by, defense=self.component, others={"teacher": a})
        return Lineage(a, victim, (a,))
    def initialize(self, task, parent, validation):
        SAID.append("initialize")
    def loss(self, task, batch, others):
        SAID.append(f"loss of {sorted(others)}")
        return 0.5 * cross_entropy(task(batch[0]), batch[1])
    def score(self, task, batch):
        SAID.append("score")
        return torch.rand(len(batch[1]))
    def images(self, images, others):
        SAID.append(f"images {len(images)}")
        return images.take(torch.arange(len(images) // 2))
    def fit(self, network, validation, seed):
        SAID.append(f"fit on {len(validation)}")
        return {"shift": torch.full((1,), 0.01)}
    def wrap(self, network, fitted):
        SAID.append(f"wrap {float(fitted['shift']):.2f}")
        return Guard(network)
"""


def run(bench: Path, *overrides: str) -> tuple[runner.Finished, Plan, Store]:
    config = load(bench, [*QUICK, *overrides])
    plan, store = make_plan(config.bench), Store(bench.parent / "r" / "store")
    return runner.run(plan, config.bench, store), plan, store


def test_a_defense_acts_in_all_its_places(tiny: Path) -> None:
    (tiny.parent / "plugins" / "everywhere.py").write_text(EVERYWHERE)
    finished, plan, store = run(tiny, "axes.strategy=[finetune]", "axes.defense=[none,everywhere]")
    import tl_robust_plugins.everywhere as plugin  # type: ignore[import-not-found]

    assert not finished.failures
    said = set(plugin.SAID)
    assert {"initialize", "loss of ['teacher']", "score", "images 70", "fit on 10", "wrap 0.01"} <= said
    victims = {cell.cell.defense: cell.scene.victim for cell in plan.cells}
    guarded = victims["everywhere"]
    assert isinstance(guarded, Guarded)
    assert isinstance(guarded.model, Training)
    assert dict(guarded.model.others)["teacher"].key == plan.cells[0].scene.surrogate.key
    assert len(list((store.root / GUARDS.folder).iterdir())) == 2  # of B, and of the attacker's A behind the same guard
    assert plan.works["attack"] == sum(node.KIND == OUTCOMES for node in plan.nodes)
    assert plan.works["guard"] == 2
    assert {result.cell.defense for result in finished.results} == {"none", "everywhere"}


def test_every_node_stands_behind_those_that_it_needs(tiny: Path) -> None:
    (tiny.parent / "plugins" / "everywhere.py").write_text(EVERYWHERE)
    more = ["axes.defense=[none,everywhere]", "axes.view=[white,black,shadow]", "axes.strategy=[scratch,finetune]"]
    plan, made = make_plan(load(tiny, [*QUICK, *more]).bench), set[str]()
    for node in plan.nodes:
        assert {need.key for need in node.needs} <= made, node
        made |= node.entries.keys()


def test_the_defended_cells_leave_the_others_as_they_are(tiny: Path) -> None:
    plain = make_plan(load(tiny, [*QUICK, "axes.strategy=[finetune]"]).bench)
    both = make_plan(load(tiny, [*QUICK, "axes.strategy=[finetune]", "axes.defense=[none,squeeze]"]).bench)
    assert [cell.key for cell in plain.cells] == [cell.key for cell in both.cells if cell.cell.defense == "none"]


def test_squeezed_cells_show_the_worst_case_and_the_plain_number_beside_it(tiny: Path) -> None:
    overrides = ["axes.strategy=[finetune]", "axes.defense=[none,squeeze,{name: squeeze, bits: 8}]"]
    learns = ["recipe.epochs=12", "axes.network=[{name: dtn, width: 0.2}]", "recipe.lr=0.02"]
    finished, _, _ = run(tiny, *overrides, *learns, "axes.view=[white,black,shadow]")
    assert not finished.failures
    at = {(result.cell.defense, result.cell.view): result for result in finished.results}
    assert len(at) == 9
    for (defense, view), result in at.items():
        assert ("plain" in result.beside) == (defense != "none")
        if defense != "none":
            assert bool((result.curves["robust_accuracy"].value <= result.curves["plain_accuracy"].value).all()), view
    white = at["squeeze", "white"]
    clean = float(white.curves["robust_accuracy"].value[0])
    assert float(white.curves["plain_accuracy"].value[1]) >= clean - 0.05  # its gradients are zero
    assert white.trust("plain_accuracy").level == "red"
    assert white.trust("robust_accuracy") == white.verdict
    for view in ("white", "black"):  # eight bits of images that have eight change nothing
        one, other = at["none", view].outcome, at["squeeze(bits=8)", view].outcome
        for name, tensor in one.tensors().items():
            assert torch.equal(tensor, other.tensors()[name]), name


@pytest.mark.parametrize(
    ("defense", "said"),
    [
        ("sqeeze", "did you mean 'squeeze'"),
        ("{name: squeeze, bits: 9}", "bits from 1 to 8"),
        ("{name: squeeze, bit: 3}", "did you mean 'bits'"),
        ("squeeze + ", "a defense must be a name"),
    ],
)
def test_a_defense_that_cannot_be_is_one_sentence(tiny: Path, defense: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        load(tiny, [f"axes.defense=[{defense}]"])
    assert "\n" not in str(caught.value)


def test_a_defense_that_changes_nothing_is_refused(tiny: Path) -> None:
    (tiny.parent / "plugins" / "idle.py").write_text(
        "from dataclasses import dataclass\nfrom tl_robust.defenses import DEFENSES, Adaptive, Defense\n"
        "@DEFENSES.register\n@dataclass(frozen=True)\nclass Idle(Defense):\n"
        "    def adaptive(self):\n        return (Adaptive('There is nothing to know.'),)\n"
    )
    with pytest.raises(ConfigError, match=r"defense 'idle' changes nothing with strategy 'finetune'"):
        make_plan(load(tiny, ["axes.defense=[idle]", "axes.strategy=[finetune]"]).bench)


def test_a_model_as_it_is_may_be_the_victim(tiny: Path) -> None:
    finished, plan, _ = run(tiny, "axes.strategy=[as_is]")
    assert not finished.failures
    assert all(cell.scene.victim.key == cell.scene.surrogate.key for cell in plan.cells)
    black, white = (next(r for r in finished.results if r.cell.view == view) for view in ("black", "white"))
    assert torch.equal(black.outcome.adv_b, white.outcome.adv_b)


def snapshots(training: Training, epochs: Sequence[int], store: Store) -> dict[int, dict[str, torch.Tensor]]:
    node = replace(training, snapshots=tuple(epochs))
    records, _ = node.make(Hands({"accelerator": "cpu"}, 16), store)
    return {epoch: records[Snapshot(training, epoch).key] for epoch in epochs}


def test_snapshots_are_written_by_the_fit_itself(tiny: Path) -> None:
    finished, plan, store = run(tiny, "axes.strategy=[finetune]")
    assert not finished.failures
    victim = plan.cells[0].scene.victim
    assert isinstance(victim, Training)
    assert victim.parent is not None
    taken = snapshots(victim, (0, 1, 2), store)
    parent, kept = store.load(WEIGHTS, victim.parent.key), store.load(WEIGHTS, victim.key)
    assert all(torch.equal(value, parent[name]) for name, value in taken[0].items())
    assert any(all(torch.equal(value, kept[name]) for name, value in taken[e].items()) for e in (1, 2))
    assert not torch.equal(taken[1]["classifier.weight"], taken[0]["classifier.weight"])
    with pytest.raises(ConfigError, match="no snapshot after epoch 3"):
        Snapshot(victim, 3)
