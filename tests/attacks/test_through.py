"""Attacks on a guarded model: gradients past the guard, success only by what the guard itself answers."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tl_robust import attacks
from tl_robust.attacks import Problem, evaluate, logits
from tl_robust.attacks.named import ascent
from tl_robust.attacks.norms import get_norm
from tl_robust.attacks.oracle import Oracle
from tl_robust.attacks.through import THROUGH
from tl_robust.callbacks.transfer_attack import TransferAttack
from tl_robust.errors import ConfigError, UnknownNameError
from tl_robust.models.fast import accelerate
from tl_robust.models.guard import Guard
from tl_robust.models.module import NetworkModule
from tl_robust.seeding import uniform

EPS = [0.0, 0.05, 0.1, 0.2]


def linear(classes: int = 3) -> nn.Module:
    torch.manual_seed(3)
    network = nn.Sequential(nn.Flatten(), nn.Linear(48, classes)).double().eval()
    with torch.no_grad():
        network[1].bias.copy_(-network[1].weight.sum(1) / 2)  # images around gray are of every class
    return network


def data(samples: int = 30) -> tuple[Tensor, Tensor]:
    images = torch.rand(samples, 3, 4, 4, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    images = images * 0.5 + 0.25
    return images, linear()(images).argmax(1)


class Steps(nn.Module):
    """Rounds to a few values, so that the gradient is zero."""

    def forward(self, images: Tensor) -> Tensor:
        return (images * 8).round() / 8


class Squared(nn.Module):
    """Has no gradient of its own, and a stand-in whose gradient depends on where it is taken."""

    def forward(self, images: Tensor) -> Tensor:
        return images.detach() ** 2

    def stand_in(self, images: Tensor) -> Tensor:
        return images**2


class Noisy(nn.Module):
    """Adds the same draw at every call; an attacker may draw anew."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("draw", self.of(-1))

    @staticmethod
    def of(number: int) -> Tensor:
        return 0.3 * (uniform(number + 7, torch.zeros(1, dtype=torch.int64), (3, 4, 4)).double() - 0.5)

    def forward(self, images: Tensor) -> Tensor:
        return images + self.draw

    def anew(self, images: Tensor, number: int) -> Tensor:
        return images + self.of(number)


class Shy(Guard):
    """Refuses everything whose first pixel is far from where it was."""

    rejects = True

    def __init__(self, network: nn.Module, place: float = 0.5, reach: float = 0.02) -> None:
        super().__init__(network)
        self.place, self.reach, self.asked = place, reach, 0

    def after(self, logits: Tensor, images: Tensor) -> Tensor:
        self.asked += 1
        far = (images[:, 0, 0, 0] - self.place).abs() > self.reach
        refusal = torch.where(far, logits.amax(1) + 1, logits.amin(1) - 1)
        return torch.cat([logits, refusal[:, None]], 1)


def shy_data() -> tuple[Tensor, Tensor]:
    images, _ = data()
    images[:, 0, 0, 0] = 0.5
    return images, linear()(images).argmax(1)


def judged(model: nn.Module, images: Tensor, labels: Tensor, name: str = "pgd", **changes: Any) -> Any:
    settings = {"surrogate": model, "victims": {"b": model}, "images": images, "labels": labels, "eps": EPS} | changes
    few = {"square": {"queries": 30}, "strong": {"steps": 5, "targets": 1, "queries": 10}}
    return evaluate(attacks.get(name, **few.get(name, {})), **settings)["b"]


def test_what_the_logits_say() -> None:
    nan, inf = torch.nan, torch.inf
    rows = torch.tensor([[2.0, 1, 0], [0, 2, 1], [0, 1, 2], [2, 1, 3], [nan, 1, 0], [0, 1, inf], [1, 1, 0]])
    label = torch.tensor([0, 0, 0, 1, 0, 1, 1])
    assert logits.predicted(rows).tolist() == [0, 1, 2, 2, -1, -1, 0]
    assert logits.predicted(rows, rejects=True).tolist() == [0, 1, -1, -1, -1, -1, 0]
    assert logits.fooled(rows, label).tolist() == [False, True, True, True, True, True, True]
    assert logits.fooled(rows, label, rejects=True).tolist() == [False, True, False, False, True, True, True]
    finite = rows[:4], label[:4]
    assert logits.margin(*finite).tolist() == [-1, 2, 2, 2]
    assert logits.margin(*finite, rejects=True).tolist() == [-1, 1, -1, -1]  # the second: 2 over the refusal's 1


@pytest.mark.parametrize("name", THROUGH.names())
def test_each_way_gives_the_logits_of_a_guard_without_randomness(name: str) -> None:
    images, _ = data()
    guard = Guard(Guard(linear(), [Steps()]), [Squared()])
    assert torch.equal(guard(images), linear()(Steps()(Squared()(images))))
    wrapped = NetworkModule(guard)
    for model in (guard, wrapped):
        way = THROUGH.parse(name).of(model)
        assert torch.allclose(way(images), guard(images), rtol=0, atol=0 if name != "averaged" else 1e-12)


def test_straight_through_takes_each_link_at_its_own_input() -> None:
    images, labels = data()
    inner, outer = Squared(), Squared()
    guard = Guard(Guard(linear(), [inner, Steps()]), [outer])  # x, x^2, x^4, rounded
    (found,) = [gradient(THROUGH.parse("straight_through").of(guard), images, labels)]
    smooth = images.clone().requires_grad_()
    middle = smooth**4
    cross_entropy(linear()(middle + (Steps()(middle) - middle).detach()), labels, reduction="sum").backward()
    assert torch.allclose(found, smooth.grad, atol=1e-12)
    assert float((found - gradient(linear(), images, labels)).abs().max()) > 1e-3


def gradient(model: Callable[[Tensor], Tensor], images: Tensor, labels: Tensor) -> Tensor:
    images = images.clone().requires_grad_()
    cross_entropy(model(images), labels, reduction="sum").backward()
    return images.grad


def test_averaged_draws_anew_and_never_as_the_defender_did() -> None:
    images, _ = data()
    guard = Guard(linear(), [Steps(), Noisy()])
    expected = torch.stack([linear()(Steps()(images) + Noisy.of(number)) for number in range(4)]).mean(0)
    assert torch.allclose(THROUGH.parse("averaged(draws=4)").of(guard)(images), expected)
    assert not torch.allclose(guard(images), expected)
    assert torch.equal(guard(images[:3]), guard(images)[:3])


@pytest.mark.parametrize("name", ["fgsm", "pgd", "mi", "apgd_ce", "strong", "universal"])
def test_a_plain_attack_finds_no_gradient_and_a_straight_through_one_does(name: str) -> None:
    images, labels = data()
    guard = Guard(linear(), [Steps()])
    labels = guard(images).argmax(1)
    plain = judged(guard, images, labels, name)
    adaptive = judged(guard, images, labels, name, through="straight_through")
    assert bool(plain.zero_gradient.all())
    assert not adaptive.zero_gradient.any()
    robust = [int((outcome.adv_b[-1] == labels).sum()) for outcome in (plain, adaptive)]
    assert robust[1] < robust[0]
    for outcome in (plain, adaptive):
        assert torch.equal(outcome.adv_a, outcome.adv_b)
        assert bool(outcome.valid.all())


def test_square_needs_no_way_and_is_the_same_with_one() -> None:
    images, labels = data()
    guard = Guard(linear(), [Steps()])
    plain, adaptive = (judged(guard, images, labels, "square", through=way) for way in ("exact", "straight_through"))
    assert torch.equal(plain.adv_b, adaptive.adv_b)


def test_the_guard_itself_is_asked_whether_it_is_fooled() -> None:
    """The way says "fooled" nowhere and the guard somewhere: early stop, margin and judgment follow the guard."""
    images, labels = data()
    guard = Guard(linear(), [Noisy()])
    way = THROUGH.parse("averaged(draws=3)").of(guard)
    problem = Problem(
        way, attacks.get("pgd").goal, images, labels, torch.arange(30), 0, get_norm("linf"), early=True, guard=guard
    )
    by_guard = guard(images).argmax(1) != labels
    assert (by_guard != (way(images).argmax(1) != labels)).any()
    assert torch.equal(problem.gradient(images).fooled, by_guard)
    assert torch.equal(problem.margin(images) > 0, by_guard)
    assert torch.allclose(problem.gradient(images).gradient, gradient(way, images, labels))
    problem.early = False
    assert problem.gradient(images.clone()).fooled is None  # transfer takes all steps: the guard is not asked
    found = attacks.get("pgd")(guard, images, labels, [0.1], early=True, through="averaged(draws=3)")[0]
    start = (images + 0.1 * problem.random()).clamp(0, 1)
    at_once = guard(start).argmax(1) != labels
    assert (at_once & ~by_guard).any()
    assert torch.equal(found[at_once & ~by_guard], start[at_once & ~by_guard])  # stopped where the guard fell


def test_restarts_are_compared_by_the_guard() -> None:
    images, labels = data()
    guard = Guard(linear(), [Noisy()])
    one, many = (
        attacks.get("pgd", steps=1, restarts=count)(guard, images, labels, [0.05], through="averaged(draws=2)")[0]
        for count in (1, 4)
    )
    margins = [logits.margin(guard(adversarial), labels) for adversarial in (one, many)]
    assert bool((margins[1] >= margins[0]).all())
    assert bool((margins[1] > margins[0]).any())


def refusal_is_no_success() -> None:
    """An attack that is not told of the refusal ends there; here it goes on, and nothing counts it as a success."""
    images, labels = shy_data()
    outcome = judged(Shy(linear()), images, labels, early=False)  # the last images of each walk
    refused = outcome.adv_b == -1
    assert bool(refused[1:].any())
    assert bool((outcome.clean_b == labels).all())
    assert not (outcome.adv_b == 3).any()  # the logit of the refusal is no class
    attack, guard = attacks.get("pgd", steps=6, random_start=False), Shy(linear(), reach=-1.0)
    assert bool((guard(images).argmax(1) == 3).all())  # it refuses whatever it is shown
    attack(guard, images, labels, [0.1], early=True)
    assert guard.asked >= 6  # and the attack did not end at its first image
    problem = Problem(guard, attack.goal, images, labels, torch.arange(30), 0, get_norm("linf"), early=True)
    assert not problem.gradient(images).fooled.any()
    assert not (problem.margin(images) > 0).any()
    assert Oracle(guard).classes(images).tolist() == [-1] * 30


test_a_refusal_is_no_success = refusal_is_no_success


@pytest.mark.parametrize("name", ["square", "strong"])
def test_a_refusing_guard_is_attacked_by_every_kind_of_search(name: str) -> None:
    images, labels = shy_data()
    outcome = judged(Shy(linear(), reach=1.0), images, labels, name)
    free = judged(linear(), images, labels, name)
    assert not (outcome.adv_b == -1).any()
    assert int((outcome.adv_b[-1] == labels).sum()) <= int((free.adv_b[-1] == labels).sum()) + 2
    targets = attacks.get("apgd_t", steps=2).goal
    ranked = Problem(Shy(linear()), targets, images, labels, torch.arange(30), 0, get_norm("linf")).reference
    assert int(ranked.max()) < 3  # refusing is no target


def test_a_guard_that_never_refuses_is_as_the_network_alone() -> None:
    images, labels = shy_data()
    guarded, alone = judged(Shy(linear(), reach=9), images, labels), judged(linear(), images, labels)
    assert torch.equal(guarded.clean_b, alone.clean_b)
    assert torch.equal(guarded.adv_b[0], alone.adv_b[0])
    own = judged(Shy(linear(), reach=-1.0), images, labels, same_labels=False, eps=[0.0])
    assert own.clean_a.tolist() == [-1] * 30  # refused, while the class it would name stands for the label


def test_logits_that_are_not_finite_are_a_success_as_before() -> None:
    images, labels = shy_data()

    class Broken(Shy):
        def after(self, logits: Tensor, images: Tensor) -> Tensor:
            far = (images[:, 0, 0, 0] - self.place).abs() > self.reach
            return torch.where(far[:, None], torch.nan, super().after(logits, images))

    guard = Broken(linear())
    problem = Problem(guard, attacks.get("pgd").goal, images, labels, torch.arange(30), 0, get_norm("linf"), True)
    moved = images.clone()
    moved[:, 0, 0, 0] = 0.9
    assert bool(problem.gradient(moved).fooled.all())
    assert bool((problem.margin(moved) == torch.inf).all())
    assert bool(torch.isfinite(problem.gradient(moved).gradient).all())


PLACES = {
    "the gradient's look": ("tl_robust.attacks.problem.fooled", lambda rows, label, *_: rows.argmax(1) != label),
    "the margin": ("tl_robust.attacks.problem.margin", lambda rows, label, rejects: logits.margin(rows, label)),
    "the judge's classes": ("tl_robust.attacks.oracle.predicted", lambda rows, rejects=False: rows.argmax(1)),
    "all of them": ("tl_robust.attacks.oracle.guard_in", lambda model: None),
}


@pytest.mark.parametrize("place", PLACES)
def test_each_place_that_forgets_the_refusal_is_seen(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(*PLACES[place])
    with pytest.raises(AssertionError):
        refusal_is_no_success()


def test_a_cascade_goes_on_where_the_guard_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = shy_data()
    guard, tried = Shy(linear(), reach=-1.0), []
    walk = ascent.Ascent._attempt

    def counted(self: Any, number: int, problem: Problem, eps: float, before: Tensor) -> Tensor:
        tried.append((number, len(problem)))
        return walk(self, number, problem, eps, before)

    monkeypatch.setattr(ascent.Ascent, "_attempt", counted)
    attacks.get("pgd", steps=2, restarts=3)(guard, images, labels, [0.1], early=True)
    assert tried == [(0, 30), (1, 30), (2, 30)]


def test_bad_ways_are_refused_in_one_sentence() -> None:
    images, labels = data()
    with pytest.raises(ConfigError, match="goes around the guard of a defense, which Sequential does not have"):
        judged(linear(), images, labels, through="straight_through")
    with pytest.raises(UnknownNameError, match="unknown way through a guard 'straight'"):
        judged(linear(), images, labels, through="straight")
    with pytest.raises(ConfigError, match="draws of 'averaged' must be at least 1, got 0"):
        judged(linear(), images, labels, through="averaged(draws=0)")

    class Half(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images[:, :, ::2, ::2].repeat(1, 4, 1, 1)

    with pytest.raises(ConfigError, match=r"Half turns images \[\d+, 3, 4, 4\] into \[\d+, 12, 2, 2\].*stand_in"):
        judged(Guard(linear(), [Half()]), images, labels, through="straight_through")
    with pytest.raises(ConfigError, match="labels up to 2 need 3 classes and one logit more"):
        judged(Shy(linear(2)), *shy_data())


def test_only_the_network_inside_a_guard_becomes_faster() -> None:
    images, _ = data()
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 3)).double().eval()
    guard = Guard(Guard(network, [Steps()]), [Noisy()])
    fast = accelerate(guard, ["fold"])
    assert type(fast) is type(fast.network) is Guard
    assert isinstance(fast.network.network, torch.fx.GraphModule)
    assert torch.allclose(fast(images), guard(images))
    assert isinstance(guard.network.network, nn.Sequential)


def test_the_callback_has_the_same_setting() -> None:
    callback = TransferAttack(attacks.get("pgd"), {}, [0.1], through="straight_through")
    assert callback.through == "straight_through"
