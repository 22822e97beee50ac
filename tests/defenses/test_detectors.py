"""The frame of detectors: scores against plain loops, the threshold, the refusal, and the attack that evades it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from given import Given, reader
from scipy.ndimage import median_filter
from scipy.special import logsumexp, softmax
from torch import Tensor, nn

from tl_robust import attacks, defenses
from tl_robust.attacks import evaluate
from tl_robust.attacks.through import THROUGH
from tl_robust.bench.plan import make_plan
from tl_robust.config import load
from tl_robust.defenses import DEFENSES
from tl_robust.defenses.detector import Detector, Suspecting
from tl_robust.errors import ConfigError
from tl_robust.types import ImageSet, Outcome

EPS = [0.0, 16 / 255, 32 / 255, 64 / 255]
NAMES = [name for name in defenses.names() if issubclass(DEFENSES[name], Detector)]
EVERY = pytest.mark.parametrize("name", NAMES)


@pytest.fixture(scope="module")
def trained() -> tuple[nn.Module, ImageSet, ImageSet]:
    return reader()


def guard_of(trained: tuple[nn.Module, ImageSet, ImageSet], text: str) -> nn.Module:
    defense = defenses.parse(text)
    assert defense
    return defense.wrap(trained[0], defense.fit(trained[0], trained[1], 7))


def test_these_are_the_detectors() -> None:
    assert NAMES == ["energy", "mahalanobis", "squeezing_distance"]


def test_the_energy_is_minus_the_log_of_the_sum_of_exponentials(trained) -> None:
    guard, images = guard_of(trained, "energy"), trained[2].images / 255
    with torch.no_grad():
        logits = trained[0](images)
    expected = -logsumexp(logits.double().numpy(), axis=1)
    assert torch.allclose(guard.suspicion(images).double(), torch.from_numpy(expected), atol=1e-5)
    assert torch.allclose(guard(images)[:, :10], logits)


@pytest.mark.parametrize("bits", [1, 3, 5])
def test_the_squeezing_distance_is_the_largest_of_plain_squeezers(trained, bits: int) -> None:
    guard = guard_of(trained, f"squeezing_distance(bits={bits})")
    images = trained[2].images / 255
    top = 2**bits - 1
    coarse = [(images * top).round() / top, torch.from_numpy(median_filter(images.numpy(), (1, 1, 2, 2)))]
    with torch.no_grad():
        own, *others = (softmax(trained[0](each).double().numpy(), axis=1) for each in (images, *coarse))
    apart = [abs(own - other).sum(1) for other in others]
    first = apart[0] > apart[1]
    assert bits > 1 or first.any() != first.all(), "each squeezer counts somewhere"
    found = guard.suspicion(images).double().numpy()
    assert found == pytest.approx(torch.maximum(*map(torch.from_numpy, apart)).numpy(), abs=1e-5)
    with torch.no_grad():
        assert torch.equal(guard(images)[:, :10], trained[0](images)), "the answer is that of the image itself"


def test_the_authors_bits_follow_the_space(tiny: Path) -> None:
    quick = ["axes.seed=[0]", "axes.strategy=[finetune]", "axes.attack=[fgsm]", "axes.view=[white]"]
    for space, bits in (("digits", 1), ("square", 5)):
        bench = load(tiny, [*quick, f"space={space}", "axes.defense=[squeezing_distance]"]).bench
        (cell,) = make_plan(bench).cells
        (part,) = cell.scene.victim.spec["defense"]
        assert dict(part["settings"]) == {"bits": bits}
        assert cell.cell.defense == "squeezing_distance"


@EVERY
def test_it_refuses_as_many_held_out_images_as_it_says_and_about_as_many_others(trained, name: str) -> None:
    _, held, test = trained
    for share in (0.05, 0.3):
        guard = guard_of(trained, f"{name}(false_alarms={share})")
        assert isinstance(guard, Suspecting)
        if name != "mahalanobis":  # whose threshold is of other folds
            refused = guard.suspicion(held.images / 255) > guard.threshold
            assert int(refused.sum()) == int(share * len(held))
        with torch.no_grad():
            answer = guard(test.images / 255)
        refused = answer.argmax(1) == 10
        assert abs(float(refused.double().mean()) - share) < 0.12  # 197 images: 3 deviations
        assert torch.equal(refused, guard.suspicion(test.images / 255) > guard.threshold)


@EVERY
def test_with_an_infinite_threshold_every_bit_is_the_networks(trained, name: str) -> None:
    images, free = trained[2].images / 255, guard_of(trained, f"{name}(false_alarms=0)")
    assert not free.rejects
    assert torch.equal(free(images), trained[0](images))
    guard = guard_of(trained, name)
    guard.threshold.fill_(torch.inf)
    assert torch.equal(guard(images)[:, :10], trained[0](images))
    assert not bool((guard(images).argmax(1) == 10).any())
    undefended, found = (judged(trained, each, "") for each in (trained[0], free))
    for field, tensor in undefended.tensors().items():
        assert torch.equal(tensor, found.tensors()[field]), field


def judged(trained, guard: nn.Module, objective: str, through: str = "exact") -> Outcome:
    attack = attacks.get("pgd", steps=20, **({"objective": objective} if objective else {}))
    test = trained[2]
    given = {"images": test.images, "labels": test.labels, "eps": EPS, "through": through}
    return evaluate(attack, surrogate=guard, victims={"b": guard}, **given)["b"]


def fooled(outcome: Outcome) -> Tensor:
    return ((outcome.adv_b != outcome.label) & (outcome.adv_b != -1)).double().mean(1)


@EVERY
def test_who_evades_it_is_declared_and_the_worst_case_is_worse(trained, name: str) -> None:
    declared = defenses.parse(name).against("white")
    assert [attack.objective for attack in declared] == ["", "evade"]
    guard, plain = guard_of(trained, name), None
    plain = judged(trained, guard, "")
    known = judged(trained, guard, "evade", declared[-1].through)
    worst = plain.worst(known)
    for outcome in (plain, known):
        assert bool((fooled(worst) >= fooled(outcome)).all())
    assert float(fooled(worst)[3]) > 0.9
    assert float(fooled(worst)[2]) > float(fooled(plain)[2]) + (0.2 if name == "mahalanobis" else 0)


def test_gradients_go_through_the_squeezers_of_a_detector(trained) -> None:
    """The chain rule by hand: the identity stands for fewer bits, whose own gradient is zero."""
    guard, images = guard_of(trained, "squeezing_distance(bits=1)"), trained[2].images[:60].float() / 255
    given = images.clone().requires_grad_()
    (straight,) = torch.autograd.grad(THROUGH.parse("straight_through").of(guard)(given)[:, -1].sum(), given)
    (exact,) = torch.autograd.grad(guard(given)[:, -1].sum(), given)
    assert not torch.allclose(straight, exact)
    own = images.clone().requires_grad_()
    inside = images.round()
    inside.requires_grad_()
    network = trained[0]
    logits, coarse = network(own), network(inside)
    bits = (logits.softmax(1) - coarse.softmax(1)).abs().sum(1)
    medians = guard.links[1](own)
    other = (logits.softmax(1) - network(medians).softmax(1)).abs().sum(1)
    (logits.amax(1) + torch.maximum(bits, other)).sum().backward()
    by_hand = own.grad + (0 if inside.grad is None else inside.grad)
    assert torch.allclose(straight, by_hand, atol=1e-5)


@EVERY
def test_it_stands_behind_another_alarm(name: str) -> None:
    network, held = Given(9).eval(), torch.randint(0, 256, (60, 1, 3, 3), generator=torch.Generator().manual_seed(0))
    images = ImageSet(held.to(torch.uint8), torch.arange(60) % 4)
    defense = defenses.parse(f"strip(overlays=5) + {name}(false_alarms=0.2)")
    fitted = defense.fit(network, images, 7)
    guard = defense.wrap(network, fitted)
    answer = guard(images.images / 255)
    assert answer.shape == (60, 5)  # one refusal for both alarms
    alone = defenses.parse(f"{name}(false_alarms=0.2)")
    own = alone.wrap(network, alone.fit(network, images, 7))
    pixels = images.images / 255
    if name != "mahalanobis":  # whose folds are drawn by another seed
        assert torch.allclose(guard.suspicion(pixels), own.suspicion(pixels)), "the refusal inside is no class"


@EVERY
def test_too_few_held_out_images_are_one_sentence(name: str) -> None:
    few = ImageSet(torch.zeros(10, 1, 2, 2, dtype=torch.uint8), torch.arange(10) % 4)
    says = (
        rf"^{name} needs 20 held-out images for false_alarms=0\.05, got 10: raise recipe\.val_share, or false_alarms\.$"
    )
    with pytest.raises(ConfigError, match=says):
        DEFENSES[name]().fit(Given(4), few, 7)
    with pytest.raises(ConfigError, match=rf"^{name} needs false_alarms of at least 0 and below 1, got 1"):
        DEFENSES[name](false_alarms=1.0)


@pytest.mark.parametrize("bits", [8, -1])
def test_bits_out_of_range_are_one_sentence(bits: int) -> None:
    with pytest.raises(ConfigError, match=rf"^squeezing_distance needs bits from 1 to 7, or 0 for .* got {bits}\.$"):
        defenses.parse(f"squeezing_distance(bits={bits})")
