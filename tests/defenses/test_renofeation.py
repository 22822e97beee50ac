"""Renofeation: random weights, A's features, and a mean over epochs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from by_hand import hands
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tl_robust import defenses, models, strategies
from tl_robust.bench import runner
from tl_robust.bench.plan import Plan, make_plan
from tl_robust.config import load
from tl_robust.errors import ConfigError
from tl_robust.models.base import build
from tl_robust.models.features import with_blocks
from tl_robust.nodes.members import Soup
from tl_robust.nodes.models import WEIGHTS
from tl_robust.nodes.store import Store
from tl_robust.nodes.training import Snapshot, Training
from tl_robust.registry import Component
from tl_robust.types import Recipe

QUICK = ["axes.seed=[0]", "axes.strategy=[finetune]", "axes.attack=[fgsm]", "axes.view=[white,black,shadow]"]
SHAPE = (1, 16, 16)
DRAWS = torch.Generator().manual_seed(4)
IMAGES, LABELS = torch.rand(12, *SHAPE, generator=DRAWS), torch.arange(12) % 4


def planned(bench: Path, defense: str, *more: str) -> Plan:
    return make_plan(load(bench, [*QUICK, f"axes.defense=['{defense}']", *more]).bench)


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return models.get("dtn", SHAPE, 4, width=0.05)


@pytest.mark.parametrize("weight", [0.0, 5.0])
def test_the_loss_is_cross_entropy_and_the_squared_distance_of_each_block_by_hand(weight: float) -> None:
    start, own = network(1).eval(), network(2)
    task = strategies.get("finetune", own, Recipe(epochs=2), 4)
    task.defend(defense := defenses.parse(f"renofeation(weight={weight})"), {"start": start})
    for module in own.modules():  # without dropout, so that it can be repeated
        module.training = isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)
    found = defense.loss(task, (IMAGES, LABELS), {"start": start})
    total = torch.tensor(0.0)
    values = [net.normalize(IMAGES) for net in (own, start)]
    for block in range(4):
        for side, net in enumerate((own, start)):
            layers = net.features[4 * block : 4 * block + 4] if block < 3 else net.hidden
            for layer in layers if block < 3 else [net.features[12], *layers]:
                values[side] = layer(values[side])
        total = total + (values[0] - values[1]).pow(2).sum() / values[0].numel()
    expected = cross_entropy(own.classifier(values[0]), LABELS) + weight * total
    assert float(found.detach()) == pytest.approx(float(expected.detach()), rel=1e-6)
    found.backward()
    assert all(parameter.grad is None for parameter in start.parameters())
    assert bool(own.features[0].weight.grad.any())


def test_a_block_that_is_called_itself_gives_its_own_output() -> None:
    class Doubled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(4, 4)

        def forward(self, given: Tensor) -> Tensor:
            return 2 * self.inner(given)

    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second, self.idle = Doubled(), nn.Linear(4, 3), nn.Linear(1, 1)

        @property
        def blocks(self) -> list[nn.Module]:
            return [self.first, nn.Sequential(self.second)]

        def forward(self, given: Tensor) -> Tensor:
            return self.second(self.first(given))

    two, given = Two(), torch.rand(5, 4)
    answer, (first, second) = with_blocks(two, lambda: two(given))
    assert torch.equal(first, two.first(given))
    assert torch.equal(second, answer)
    assert not two.first._forward_hooks
    with pytest.raises(ConfigError, match="has a block of which it runs nothing"):
        with_blocks(two, lambda: two.second(given))


def test_nothing_of_a_is_in_its_start() -> None:
    given = {name: value.clone() for name, value in network(1).state_dict().items()}
    task = strategies.get("finetune", network(2), Recipe(epochs=2), 4)
    task.defend(defenses.parse("renofeation"), {"start": network(1)})
    torch.manual_seed(5)
    task.start_from(given)
    found = task.network.state_dict()
    torch.manual_seed(5)
    drawn = build(Component("dtn", 1, (("width", 0.05),)), SHAPE, 4).state_dict()
    assert all(torch.equal(found[name], drawn[name]) for name in drawn)
    assert not any(torch.isclose(found[name], given[name], atol=1e-6).any() for name in found if found[name].ndim > 1)


def test_b_is_the_mean_of_the_second_half_of_its_epochs(tiny: Path) -> None:
    plan = planned(tiny, "renofeation", "recipe.epochs=5")
    cell = next(cell for cell in plan.cells if cell.cell.view == "black")
    a, victim = cell.scene.surrogate, cell.scene.victim
    assert isinstance(victim, Soup)
    assert [model.epoch for model in victim.models] == [3, 4, 5]
    (training,) = {model.model for model in victim.models}
    assert isinstance(training, Training)
    assert dict(training.others) == {"start": a}
    assert [part.name for part in training.defense] == ["renofeation"]
    shadow = next(cell.play.surrogate for cell in plan.cells if cell.cell.view == "shadow")
    assert shadow == victim.again("shadow")
    assert {model.model.key for model in shadow.models} == {training.again("shadow").key}
    assert dict(shadow.models[0].model.others) == {"start": a}
    (node,) = (node for node in plan.nodes if node.key == training.key)
    assert node.snapshots == (3, 4, 5)
    alone = planned(tiny, "renofeation(average=False)").cells[0].scene.victim
    assert isinstance(alone, Training)
    assert isinstance(planned(tiny, "renofeation", "recipe.epochs=1").cells[0].scene.victim, Training)


@pytest.mark.slow
def test_a_bench_trains_and_judges_it(tiny: Path) -> None:
    names = "renofeation, 'renofeation(weight=0.0)', 'private_origin + renofeation'"
    learns = ["recipe.epochs=12", "recipe.lr=0.02", "axes.network=[{name: dtn, width: 0.2}]"]
    config = load(tiny, [*QUICK, f"axes.defense=[{names}]", *learns])
    plan, store = make_plan(config.bench), Store(tiny.parent / "store")
    finished = runner.run(plan, config.bench, store)
    assert not finished.failures
    assert len(finished.results) == 9
    white = next(result for result in finished.results if result.cell.view == "white")
    assert float(white.curves["robust_accuracy"].value[0]) > 0.8  # it has learned
    soup = plan.cells[0].scene.victim
    training = soup.models[0].model
    made, _ = Snapshot(training, 0).nodes[-1].make(hands(), store)
    begun, a = made[Snapshot(training, 0).key], store.load(WEIGHTS, plan.cells[0].scene.surrogate.key)
    same = [torch.isclose(begun[name], a[name], atol=1e-6).double().mean() for name in a if a[name].ndim > 1]
    assert float(torch.stack(same).max()) < 0.01  # by chance

    def apart(weights: dict[str, Tensor]) -> float:
        """How far features are from A's, over how far A's are from their mean."""
        own, other = training.build(weights).eval(), training.build(a).eval()
        images = training.data.images("train").images / 255
        with torch.no_grad():
            pairs = zip(*(with_blocks(net, lambda net=net: net(images))[1] for net in (own, other)), strict=True)
            return float(sum((one - two).square().mean() / two.var() for one, two in pairs))

    without = next(cell.scene.victim for cell in plan.cells if cell.cell.defense == "renofeation(weight=0.0)")
    assert apart(store.load(WEIGHTS, soup.key)) < 0.75 * apart(store.load(WEIGHTS, without.key))


@pytest.mark.parametrize(
    ("defense", "more", "said"),
    [
        ("renofeation(weight=-1)", [], "renofeation needs a weight from 0, got -1"),
        ("renofeation", ["axes.strategy=[scratch]"], "defense renofeation changes what scratch made_b.* starts from"),
        ("renofeation + distill(start=b)", [], "setting 'start' of distill"),
    ],
)
def test_what_cannot_be_is_one_sentence(tiny: Path, defense: str, more: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        planned(tiny, defense, *more)
    assert "\n" not in str(caught.value)


def test_a_probe_cannot_learn_random_features() -> None:
    task = strategies.get("finetune", network(2), Recipe(epochs=2), 4, mode="probe")
    task.defend(defenses.parse("renofeation"), {"start": network(1)})
    with pytest.raises(ConfigError, match="renofeation makes blocks random that this strategy never trains"):
        task.start_from(network(1).state_dict())


def test_a_may_know_other_classes(tiny: Path) -> None:
    letters = (tiny.parent / "plugins" / "made_a.py").read_text().replace("0123456789", "abcdefghij")
    (tiny.parent / "plugins" / "made_a.py").write_text(letters)
    plan = planned(tiny, "renofeation", "space={name: square, side: 8, classes: own}", "recipe.epochs=4")
    assert isinstance(plan.cells[0].scene.victim, Soup)
