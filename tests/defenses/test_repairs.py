"""Repairs: trainings after the strategy's own, against what their papers say of them."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tl_robust import defenses, models
from tl_robust.bench import runner
from tl_robust.bench.plan import Plan, make_plan
from tl_robust.config import load
from tl_robust.errors import ConfigError
from tl_robust.models.channels import Channels
from tl_robust.nodes.models import WEIGHTS
from tl_robust.nodes.store import Store
from tl_robust.nodes.training import Snapshot, Training
from tl_robust.types import ImageSet

QUICK = ["axes.seed=[0]", "axes.strategy=[finetune]", "axes.attack=[fgsm]", "axes.view=[white,black,shadow]"]
DRAWS = torch.Generator().manual_seed(4)
LABELS = torch.arange(60) % 4
SHAPE = (1, 16, 16)


def planned(bench: Path, defense: str, *more: str) -> tuple[Training, Training, Plan]:
    """B, the repaired B, and the plan."""
    plan = make_plan(load(bench, [*QUICK, f"axes.defense=[none,{defense}]", *more]).bench)
    plain, repaired = (next(c for c in plan.cells if (c.cell.defense != "none") == which) for which in (False, True))
    return plain.scene.victim, repaired.scene.victim, plan


# fine-pruning


def taught() -> tuple[nn.Module, ImageSet]:
    """A network that knows four patterns, and images that it was not shown."""
    pattern = torch.rand(4, *SHAPE, generator=DRAWS)
    images = ((0.6 * pattern[LABELS] + 0.4 * torch.rand(60, *SHAPE, generator=DRAWS)) * 255).to(torch.uint8)
    torch.manual_seed(0)
    network = models.get("dtn", SHAPE, 4, width=0.05)
    steps = torch.optim.Adam(network.parameters(), 0.01)
    for _ in range(30):
        steps.zero_grad()
        cross_entropy(network(images[:40] / 255), LABELS[:40]).backward()
        steps.step()
    return network.eval(), ImageSet(images[20:], LABELS[20:])


def accuracy(network: nn.Module, images: ImageSet) -> float:
    with torch.no_grad():
        return sum(int(network(one[None] / 255).argmax()) == int(label)
                   for one, label in zip(images.images, images.labels, strict=True)) / len(images)  # fmt: skip


def naive(network: nn.Module, images: ImageSet, drop: float) -> set[int]:
    """Channels by their activation, one more at a time, with their part of the next layer's input taken away."""
    with torch.no_grad():
        answer = network.features[:10](network.normalize(images.images / 255)).clamp(min=0)
    activation = [float(answer[:, place].double().mean()) for place in range(answer.shape[1])]
    order = sorted(range(len(activation)), key=lambda place: activation[place])
    side, weight = answer.shape[2] * answer.shape[3], network.hidden[0].weight
    kept, base = weight.detach().clone(), accuracy(network, images)
    pruned: set[int] = set()
    for channel in order[:-1]:
        with torch.no_grad():
            weight[:, channel * side : (channel + 1) * side] = 0
        if accuracy(network, images) < base - drop:
            break
        pruned.add(channel)
    with torch.no_grad():
        weight.copy_(kept)
    return pruned


@pytest.mark.parametrize("drop", [0.0, 0.3, 0.6])
def test_the_least_active_channels_go_until_accuracy_falls_by_more_than_drop(drop: float) -> None:
    network, images = taught()
    found = defenses.parse(f"fine_pruning(drop={drop})").dead(Channels.last(network, images.images), images)
    assert set(found.nonzero()[:, 0].tolist()) == naive(network, images, drop)


def test_with_more_drop_more_goes_and_one_channel_stays() -> None:
    network, images = taught()
    channels = Channels.last(network, images.images)
    counts = [int(defenses.parse(f"fine_pruning(drop={drop})").dead(channels, images).sum()) for drop in (0, 0.6, 0.99)]
    assert counts == sorted(counts)
    assert 0 < counts[0] < counts[2] == channels.convolution.out_channels - 1


def test_a_share_is_pruned_whatever_becomes_of_accuracy() -> None:
    network, images = taught()
    channels = Channels.last(network, images.images)
    dead = defenses.parse("fine_pruning(share=0.4)").dead(channels, images)
    assert int(dead.sum()) == int(0.4 * len(dead))
    activation = channels.activations(images.images)
    assert activation[dead].max() <= activation[~dead].min()


def test_it_prunes_what_training_starts_from_and_needs_images_for_that() -> None:
    network, images = taught()
    task = SimpleNamespace(network=network)
    with pytest.raises(ConfigError, match=r"needs clean images: task\.start_from\(parent, validation="):
        defenses.parse("fine_pruning").initialize(task, None, None)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    defenses.parse("fine_pruning(prune=False)").initialize(task, None, images)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    dead = defenses.parse("fine_pruning(share=0.5)").dead(Channels.last(network, images.images), images)
    defenses.parse("fine_pruning(share=0.5)").initialize(task, None, images)
    assert not network.features[8].weight[dead].any()
    assert network.features[8].weight[~dead].any()


def test_b_is_trained_as_ever_and_then_fine_tuned_with_less(tiny: Path) -> None:
    b, repaired, plan = planned(tiny, "{name: fine_pruning, epochs: 3}")
    assert (b.defense, repaired.defense[0].name) == ((), "fine_pruning")
    assert repaired.parent.key == b.key
    assert (repaired.recipe.epochs, repaired.by.name, repaired.recipe.lr) == (3, "finetune", b.recipe.lr)
    shadow = next(c.play.surrogate for c in plan.cells if c.cell.view == "shadow" and c.cell.defense != "none")
    assert shadow.parent.key == b.again("shadow").key  # with the defender's own B it would be no shadow
    assert shadow.key not in (repaired.key, repaired.parent.key)
    pruned = planned(tiny, "{name: fine_pruning, epochs: 0}")[1]
    assert isinstance(pruned, Snapshot)
    assert (pruned.epoch, pruned.age, pruned.parent.key) == (0, 0, b.key)
    assert pruned.further(2).parent == pruned
    with pytest.raises(ConfigError, match="has not been trained for 1 epochs"):
        pruned.at(1)


@pytest.mark.parametrize("settings", ["drop=1", "share=1", "epochs=-1", "epochs=0, prune=False"])
def test_settings_of_fine_pruning_out_of_range_are_one_sentence(settings: str) -> None:
    with pytest.raises(ConfigError, match="fine_pruning needs"):
        defenses.parse(f"fine_pruning({settings})")


# distillation


def loss(text: str, own: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
    return defenses.parse(text).loss(lambda _: own, (torch.zeros(len(own), 1), labels), {"teacher": lambda _: teacher})


def test_the_loss_is_hintons_by_hand() -> None:
    own, teacher = torch.randn(2, 7, 5, generator=DRAWS, dtype=torch.float64) * 3
    labels, temperature, weight = torch.arange(7) % 5, 3.0, 0.7
    total = 0.0
    for place in range(7):
        soft = [[math.exp(float(v) / temperature) for v in row[place]] for row in (own, teacher)]
        student, taught = ([value / sum(row) for value in row] for row in soft)
        apart = sum(t * math.log(t / s) for t, s in zip(taught, student, strict=True))
        hard = [math.exp(float(v)) for v in own[place]]
        total += weight * temperature**2 * apart - (1 - weight) * math.log(hard[labels[place]] / sum(hard))
    found = loss(f"distill(temperature={temperature}, weight={weight})", own, teacher, labels)
    assert float(found) == pytest.approx(total / 7, rel=1e-12)


def test_at_a_high_temperature_it_is_the_squared_distance_of_centered_logits() -> None:
    """Hinton, Vinyals, Dean, section 2.1: T^2 KL goes to 1/(2L) times it."""
    own, teacher = torch.randn(2, 9, 6, generator=DRAWS, dtype=torch.float64)
    apart = (own - own.mean(1, keepdim=True)) - (teacher - teacher.mean(1, keepdim=True))
    limit = apart.square().sum(1).mean() / (2 * 6)
    assert float(loss("distill(temperature=10000, weight=1)", own, teacher, torch.zeros(9, dtype=torch.int64))) == (
        pytest.approx(float(limit), rel=1e-3)
    )


def test_without_weight_it_is_the_same_training_without_a_teacher() -> None:
    own, teacher = torch.randn(2, 9, 6, generator=DRAWS, dtype=torch.float64)
    labels = torch.arange(9) % 6
    assert torch.equal(loss("distill(weight=0)", own, teacher, labels), cross_entropy(own, labels))
    same = loss("distill(weight=1)", own, own + 5, labels)
    assert float(same) == pytest.approx(0, abs=1e-12)  # the same answers


def test_a_fresh_student_shares_no_weight_with_a_or_b(tiny: Path) -> None:
    config = load(tiny, [*QUICK, "axes.view=[black]", "axes.defense=[none,distill]", "recipe.epochs=1"])
    plan, store = make_plan(config.bench), Store(tiny.parent / "store")
    student = plan.cells[1].scene.victim
    assert isinstance(student, Training)
    assert (student.parent, student.by.name, student.recipe) == (None, "scratch", plan.cells[0].scene.victim.recipe)
    assert dict(student.others)["teacher"].key == plan.cells[0].scene.victim.key
    assert not runner.run(plan, config.bench, store).failures
    start = Snapshot(student, 0)
    made, _ = start.nodes[-1].make(__import__("by_hand").hands(), store)
    fresh = made[start.key]
    for model in (plan.cells[0].scene.surrogate, plan.cells[0].scene.victim):
        others = store.load(WEIGHTS, model.key)
        weights = [name for name in fresh if name.endswith("weight") and fresh[name].ndim > 1]
        assert len(weights) > 3
        assert not any(torch.allclose(fresh[name], others[name], atol=1e-3) for name in weights)


def test_a_student_may_start_where_b_did(tiny: Path) -> None:
    b, student, plan = planned(tiny, "{name: distill, start: parent, epochs: 3}")
    assert (student.parent.key, student.by.name, student.recipe.epochs) == (b.parent.key, "finetune", 3)
    shadow = next(c.play.surrogate for c in plan.cells if c.cell.view == "shadow" and c.cell.defense != "none")
    assert dict(shadow.others)["teacher"].key == b.again("shadow").key
    assert shadow.parent.key == b.parent.key  # A is public
    with pytest.raises(ConfigError, match="starts from random weights, so distill"):
        planned(tiny, "{name: distill, start: parent}", "axes.strategy=[scratch]")
    for wrong in ("start=b", "temperature=0", "weight=1.5", "epochs=-1"):
        with pytest.raises(ConfigError, match="distill"):
            defenses.parse(f"distill({wrong})")


# both


@pytest.mark.parametrize("name", ["fine_pruning", "distill"])
def test_poison_among_the_images_of_a_repair_is_refused(tiny: Path, name: str) -> None:
    poisoned = ["epochs=[0,1]", "axes.attack=[{name: patch, into: target, rate: 0.5, side: 2, margin: 0}]"]
    with pytest.raises(ConfigError, match=rf"defense {name} needs clean images of made_b, and into: target poisons"):
        planned(tiny, name, *poisoned)


def test_along_the_axis_a_repair_has_its_own_epochs_and_then_stays(tiny: Path) -> None:
    attack = ["epochs=[0,1,2]", "axes.attack=[{name: patch, rate: 0.5, side: 2, margin: 0}]"]
    _, _, plan = planned(tiny, "{name: fine_pruning, epochs: 1}", *attack)
    cell = next(cell for cell in plan.cells if cell.cell.defense != "none")
    stamping = cell.play.stampings[0]
    assert stamping.epochs == (0, 1, 2)
    assert [victim.age for victim in stamping.victims] == [0, 1, 1]
    assert stamping.victims[1].key == stamping.victims[2].key
    assert all(victim.trained.parent.poison is None for victim in stamping.victims)
    assert stamping.victims[0].trained.parent.parent.poison


def test_a_repair_goes_with_a_defense_that_sets_the_loss_before_it() -> None:
    both = defenses.parse("distill + distill(start=parent)")
    assert [str(part) for part in both.parts] == ["distill", "distill(start=parent)"]
