"""Judging: classes, sizes and flags against a plain loop."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from tl_robust import attacks
from tl_robust.attacks import Attack, Judge, Problem, evaluate
from tl_robust.errors import ConfigError

EPS = [0.0, 4 / 255, 16 / 255, 64 / 255]
FIELDS = ("sample_id", "label", "clean_a", "clean_b", "adv_a", "adv_b", "size", "eps", "zero_gradient", "valid")


def net(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(6 * 36, 4)
    )  # fmt: skip


def linear(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 4)).double()


def data(samples: int = 23) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(5)
    images = torch.randint(256, (samples, 3, 8, 8), generator=draw, dtype=torch.uint8)
    return images, torch.randint(4, (samples,), generator=draw)


class Counting(nn.Module):
    """Remembers how many images each forward pass had."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.inner = net(seed)
        self.batches: list[int] = []

    def forward(self, images: Tensor) -> Tensor:
        self.batches.append(len(images))
        return self.inner(images)


@pytest.mark.parametrize("name", ["fgsm", "pgd", "mi", "di", "apgd_ce"])
@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("batch_size", [23, 5])
def test_outcomes_equal_a_plain_loop(name: str, norm: str, batch_size: int) -> None:
    images, labels = data()
    attack = attacks.get(name, norm=norm)
    a, b = net(1), net(2)
    outcomes = evaluate(
        attack, surrogate=a, victims={"a": a, "b": b}, images=images, labels=labels, eps=EPS, seed=3,
        batch_size=batch_size,
    )  # fmt: skip
    assert list(outcomes) == ["a", "b"]
    assert a.training
    assert b.training  # restored
    a.eval()
    b.eval()
    clean = images.float() / 255
    adv_a, adv_b, sizes = ([[0] * 23 for _ in EPS] for _ in range(3))
    for start in range(0, 23, batch_size):
        part = range(start, min(start + batch_size, 23))
        crafted = attack(a, clean[part], labels[part], EPS, sample_id=torch.tensor(part), seed=3)
        for k in range(len(EPS)):
            with torch.no_grad():
                logits_a, logits_b = a(crafted[k]), b(crafted[k])
            for place, sample in enumerate(part):
                adv_a[k][sample] = int(logits_a[place].argmax())
                adv_b[k][sample] = int(logits_b[place].argmax())
                delta = ((crafted[k, place] * 255).round() / 255 - clean[sample]).flatten()
                sizes[k][sample] = float(delta.abs().max() if norm == "linf" else (delta**2).sum() ** 0.5)
    clean_a, clean_b = a(clean).argmax(1).tolist(), b(clean).argmax(1).tolist()
    for name_b, clean_v, adv_v in (("a", clean_a, adv_a), ("b", clean_b, adv_b)):
        outcome = outcomes[name_b]
        assert outcome.sample_id.tolist() == list(range(23))
        assert outcome.label.tolist() == labels.tolist()
        assert outcome.eps.tolist() == EPS
        assert outcome.eps.dtype == torch.float64
        assert (outcome.clean_a.tolist(), outcome.adv_a.tolist()) == (clean_a, adv_a)
        assert (outcome.clean_b.tolist(), outcome.adv_b.tolist()) == (clean_v, adv_v)
        assert torch.allclose(outcome.size, torch.tensor(sizes), atol=1e-6)
        assert outcome.size.dtype == torch.float32
        assert bool(outcome.valid.all())
        assert not outcome.zero_gradient.any()
    assert adv_a != adv_b
    assert outcomes["b"].adv_b[0].tolist() == clean_b  # eps 0
    assert (outcomes["a"].adv_a[-1] != outcomes["a"].clean_a).any()


def test_sizes_are_measured_after_rounding_to_8_bits() -> None:
    """A step of 0.4/255 rounds to nothing, one of 1.6/255 to 2/255."""
    images, labels = torch.full((3, 1, 2, 2), 100, dtype=torch.uint8), torch.tensor([0, 1, 0])
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    eps = [0.0, 0.4 / 255, 1.6 / 255]
    outcome = evaluate(
        attacks.get("fgsm"), surrogate=model, victims={"m": model}, images=images, labels=labels, eps=eps
    )["m"]  # fmt: skip
    assert outcome.size[:2].tolist() == [[0, 0, 0], [0, 0, 0]]
    assert outcome.size[2].tolist() == pytest.approx([2 / 255] * 3, abs=1e-6)
    assert bool(outcome.valid.all())  # the budget is kept before rounding


@dataclass(frozen=True)
class Cheat(Attack):
    """Breaks a rule for the second sample at the larger eps, after the clip of the base class."""

    rule: str = "eps"

    def perturb(self, problem: Problem, eps: list[float]) -> Iterator[Tensor]:
        yield from (problem.clean + size * 0.9 for size in eps)

    def stream(self, problem: Problem, eps: list[float]) -> Iterator[tuple[int, Tensor]]:
        for place, images in super().stream(problem, eps):
            if place == 2 and self.rule == "eps":
                images[1, 0, 0, 0] += 0.15 * (1 if self.norm == "linf" else 10)
                images.clamp_(0, 1)
            elif place == 2:
                wrong = {"nan": torch.nan, "inf": torch.inf, "high": 1.001, "low": -0.001}
                images[1, 0, 0, 0] = wrong[self.rule]
            yield place, images


@pytest.mark.parametrize("rule", ["eps", "nan", "inf", "high", "low"])
def test_an_attack_that_cheats_is_flagged_where_it_cheats(rule: str) -> None:
    at = 1.0 if rule == "high" else 0.0  # there the step over the edge is within eps
    images, labels = torch.full((3, 1, 2, 2), at), torch.tensor([0, 1, 0])
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    outcome = evaluate(
        Cheat(rule=rule), surrogate=model, victims={"m": model}, images=images, labels=labels, eps=[0.0, 0.05, 0.1]
    )["m"]  # fmt: skip
    expected = torch.ones(3, 3, dtype=torch.bool)
    expected[2, 1] = False
    assert outcome.valid.tolist() == expected.tolist()


def test_an_l2_cheat_within_linf_is_flagged() -> None:
    """A step of 0.9 eps in every pixel of 4 is 1.8 eps long."""
    images, labels = torch.full((3, 1, 2, 2), 0.5), torch.tensor([0, 1, 0])
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    outcome = evaluate(
        Cheat(norm="l2"), surrogate=model, victims={"m": model}, images=images, labels=labels, eps=[0.0, 0.05, 0.1]
    )["m"]  # fmt: skip
    assert outcome.valid.tolist() == [[True] * 3, [False] * 3, [False] * 3]


def test_sizes_are_float32_for_float64_images_too() -> None:
    images, labels = data()
    model = linear(1)
    named = {"surrogate": model, "victims": {"m": model}, "images": images.double() / 255, "labels": labels}
    assert evaluate(attacks.get("fgsm"), eps=EPS, **named)["m"].size.dtype == torch.float32


def test_a_surrogate_that_is_the_victim_runs_once_per_image_set() -> None:
    images, labels = data(20)
    both, other = Counting(1), Counting(2)
    evaluate(
        attacks.get("fgsm"), surrogate=both, victims={"itself": both, "again": both, "other": other}, images=images,
        labels=labels, eps=EPS, batch_size=10,
    )  # fmt: skip
    assert both.batches == [10] * 2 * (1 + len(EPS))  # gradient, clean (and eps 0), each other eps; two batches
    assert other.batches == [10] * 2 * len(EPS)


def test_images_that_did_not_change_are_not_judged_again() -> None:
    """At 1/255 half of the images have their change; at 2/255 they keep it and the others move."""

    class Slow(Attack):
        def perturb(self, problem: Problem, eps: list[float]) -> Iterator[Tensor]:
            for place, size in enumerate(eps):
                late = torch.arange(len(problem)) % 2 == 1
                moved = late if place else ~late | late
                last = problem.clean + size * torch.where(moved, 1.0, 0.5)[:, None, None, None]
                yield last if place else problem.clean + size * (~late)[:, None, None, None]

    images, labels = data(20)
    plain, images = Counting(1), images.double() / 255 * 0.9
    plain.double()
    eps = [1 / 255, 2 / 255]
    found = evaluate(Slow(), surrogate=plain, victims={"m": plain}, images=images, labels=labels, eps=eps)["m"]
    assert plain.batches == [20, 10, 10]
    late = (torch.arange(20) % 2 == 1)[:, None, None, None]
    with torch.no_grad():
        for place, moved in enumerate([eps[0] * ~late, torch.where(late, eps[1], eps[0])]):
            assert torch.equal(found.adv_b[place], plain.eval()(images + moved).argmax(1))


def test_the_white_view_is_judged_on_the_adversarial_images() -> None:
    images, labels = data()
    model = net(1)
    outcome = evaluate(
        attacks.get("pgd"), surrogate=model, victims={"m": model}, images=images, labels=labels, eps=[0.0, 1.0]
    )["m"]
    assert outcome.adv_b.tolist() == outcome.adv_a.tolist()
    assert outcome.adv_b[0].tolist() == outcome.clean_b.tolist()
    assert not (outcome.adv_b[1] == labels).any()  # with eps 1 everything falls


@pytest.mark.parametrize("name", ["fgsm", "pgd", "mi", "di", "apgd_ce"])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_batch_size_does_not_change_outcomes(name: str, norm: str) -> None:
    images, labels = data(40)
    a, b = linear(1), linear(2)
    outcomes = [
        evaluate(
            attacks.get(name, norm=norm), surrogate=a, victims={"b": b}, images=images.double() / 255, labels=labels,
            eps=EPS, batch_size=batch_size,
        )["b"]
        for batch_size in (40, 256, 7, 1)
    ]  # fmt: skip
    for outcome in outcomes[1:]:
        for field in FIELDS:
            if field != "size":
                assert torch.equal(getattr(outcome, field), getattr(outcomes[0], field)), field
        # a value near the middle of two of 255 levels may round the other way
        assert float((outcome.size - outcomes[0].size).abs().max()) < 2 / 255
        assert float((outcome.size != outcomes[0].size).double().mean()) < 0.3


def test_uint8_images_are_scaled_by_255() -> None:
    images, labels = data()
    model = net(1)
    attack = attacks.get("pgd")
    named = {"surrogate": model, "victims": {"m": model}, "labels": labels, "eps": EPS}
    whole, scaled = evaluate(attack, images=images, **named)["m"], evaluate(attack, images=images / 255, **named)["m"]
    for field in FIELDS:
        assert torch.equal(getattr(whole, field), getattr(scaled, field)), field
    assert images.dtype == torch.uint8  # left alone
    assert int(images.max()) > 200


def test_the_seed_reaches_the_attack() -> None:
    images, labels = data()
    model = net(1)
    named = {"surrogate": model, "victims": {"m": model}, "images": images, "labels": labels, "eps": EPS}
    first, again, other = (
        evaluate(attacks.get("pgd", steps=1, step_size=0.01), seed=seed, **named)["m"] for seed in (0, 0, 1)
    )
    assert torch.equal(first.size, again.size)
    assert not torch.equal(first.size, other.size)


def test_a_judge_fed_in_any_order_knows_its_samples() -> None:
    images, labels = data(20)
    clean = images.double() / 255
    attack, a, b = attacks.get("pgd"), linear(1), linear(2)
    straight = evaluate(attack, surrogate=a, victims={"b": b}, images=clean, labels=labels, eps=EPS)["b"]
    judge = Judge(attack, a, {"b": b}, EPS)
    for ids in torch.arange(20).flip(0).split(6):
        judge.update(clean[ids], labels[ids], ids)
    shuffled = judge.outcomes()["b"]
    order = shuffled.sample_id.argsort()
    assert order.tolist() != list(range(20))
    for field in ("sample_id", "label", "clean_a", "clean_b", "adv_a", "adv_b", "valid"):
        assert torch.equal(getattr(shuffled.take(order), field), getattr(straight, field)), field


def test_victims_are_left_as_they_were() -> None:
    images, labels = data()
    a, b = net(1), net(2)
    b[1].eval()
    before = {name: value.clone() for name, value in b.state_dict().items()}
    evaluate(attacks.get("fgsm"), surrogate=a, victims={"b": b}, images=images, labels=labels, eps=EPS)
    assert all(torch.equal(before[name], value) for name, value in b.state_dict().items())
    assert [module.training for module in b.modules()] == [True, True, False, True, True, True, True]
    assert all(parameter.grad is None and parameter.requires_grad for parameter in [*a.parameters(), *b.parameters()])


def test_nothing_to_judge_is_refused() -> None:
    images, labels = data()
    model = net(1)
    good = {"surrogate": model, "victims": {"m": model}, "images": images, "labels": labels, "eps": EPS}
    for change, message in (
        ({"victims": {}}, "needs at least one victim and one image, got 0 and 23"),
        ({"images": images[:0], "labels": labels[:0]}, "needs at least one victim and one image, got 1 and 0"),
        ({"eps": []}, "eps is an empty list"),
        ({"eps": [0.1, 0.1]}, "eps has a value twice"),
        ({"eps": [8]}, r"got 8; write 8/255, not 8"),
        ({"labels": labels.float()}, "labels must be int64"),
        ({"labels": labels[:-1]}, r"a label for each image and batch_size of at least 1, got labels \[22\] for 23 ima"),
        ({"labels": labels[0]}, r"a label for each image and batch_size of at least 1, got labels \[\] for 23 images"),
        ({"batch_size": 0}, r"a label for each image and batch_size of at least 1, got .* batch_size 0"),
        ({"batch_size": -3}, r"batch_size of at least 1, got .* batch_size -3"),
        ({"images": images.float()}, r"images must be in \[0, 1\]"),
    ):
        with pytest.raises(ConfigError, match=message):
            evaluate(attacks.get("fgsm"), **(good | change))


def test_labels_are_looked_at_where_the_surrogate_has_others() -> None:
    images, labels = data()
    named = {"surrogate": net(1), "victims": {"b": net(2)}, "images": images, "eps": EPS, "same_labels": False}
    with pytest.raises(ConfigError, match=r"labels must be int64 \[23\], got torch\.float32"):
        evaluate(attacks.get("fgsm"), labels=labels.float(), **named)


def test_a_judge_without_a_batch_has_no_outcomes() -> None:
    with pytest.raises(ConfigError, match=r"^no batch was judged: expected a test set with at least one image\.$"):
        Judge(attacks.get("fgsm"), net(1), {"b": net(2)}, EPS).outcomes()
