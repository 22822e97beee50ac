"""Models that deserve no trust are red and good ones are green, on real digits and through the whole path."""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.trust.trained import train
from tl_robust import attacks, trust
from tl_robust.errors import ConfigError, UnknownNameError
from tl_robust.models.networks.dtn import DTN
from tl_robust.trust import CHECKS
from tl_robust.types import Evidence, Verdict

SAMPLES = 50
GRID = [0, 2 / 255, 8 / 255, 0.1, 0.25]
GRIDS = {"linf": GRID, "l2": [0, 0.5, 1, 2, 6], "l1": [0, 5, 20, 160]}
Model = Callable[[Tensor], Tensor]


def evidence(
    model: Model, digits: tuple[Tensor, Tensor], norm: str = "linf", name: str = "pgd", eps: list[float] | None = None,
    own_labels: bool = True, **settings: Any,
) -> Evidence:  # fmt: skip
    """A white-box cell on a few images."""
    images, labels, eps = digits[0][:SAMPLES], digits[1][:SAMPLES], eps or GRIDS[norm]
    attack = attacks.get(name, norm=norm)
    outcome = attacks.evaluate(
        attack, surrogate=model, victims={"b": model}, images=images, labels=labels, eps=eps, same_labels=own_labels
    )["b"]
    examination = trust.examine(model, images, labels if own_labels else None, eps, norm, **settings)
    return Evidence(outcome, surrogate=examination, victim=examination, iterates=attack.ITERATES)


def blamed(found: Evidence) -> dict[str, str]:
    """Level of each check that is not green."""
    verdicts = {
        name: CHECKS[name].verdict(found) for name in CHECKS.names() if isinstance(found.outcome, CHECKS[name].of)
    }
    return {name: verdict.level for name, verdict in verdicts.items() if verdict.level != "green"}


@pytest.mark.parametrize(
    ("name", "norm"),
    [("dtn", "linf"), ("robust", "linf"), ("linear", "linf"), ("residual", "linf"), ("robust", "l2"), ("dtn", "l1"),
     ("linear", "l2"), ("linear", "l1")],
)  # fmt: skip
def test_good_models_are_green(
    networks: dict[str, nn.Module], digits: tuple[Tensor, Tensor], name: str, norm: str
) -> None:
    found = evidence(networks[name], digits, norm)
    assert blamed(found) == {}
    assert trust.judge(found) == Verdict()
    assert found.surrogate
    assert len(found.surrogate.seen) >= 20


@pytest.mark.parametrize(
    "how",
    [{"eps": [0.0]}, {"eps": [0.0005, 0.001]}, {"eps": [0.6, 0.8, 1.0]}, {"eps": [0.1]}, {"own_labels": False},
     {"name": "fgsm"}, {"name": "mi"}, {"samples": 1}, {"samples": 5}, {"samples": 1000}],
    ids=str,
)  # fmt: skip
def test_no_false_alarm_on_grids_and_samples_that_say_little(
    networks: dict[str, nn.Module], digits: tuple[Tensor, Tensor], how: dict[str, Any]
) -> None:
    """Nothing broken, everything broken, no eps at all, predictions for labels, one step, few and many samples."""
    assert blamed(evidence(networks["dtn"], digits, **how)) == {}


def test_near_chance_nothing_else_is_blamed(networks: dict[str, nn.Module], digits: tuple[Tensor, Tensor]) -> None:
    """Shifted labels and an untrained network; and two classes are no false alarm."""
    images, labels = digits
    assert blamed(evidence(networks["dtn"], (images, (labels + 3) % 10))) == {"above_chance": "red"}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        fresh, two = DTN((3, 16, 16), 10, width=0.25).eval(), DTN((3, 16, 16), 2, width=0.25)
        train(two, (images, labels % 2), 4)
    assert blamed(evidence(fresh, digits)) == {"above_chance": "red"}
    assert blamed(evidence(two, (images, labels % 2))) == {}


class Odd(torch.autograd.Function):
    """The identity with a wrong gradient."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, kind: str) -> Tensor:
        ctx.kind = kind
        return images.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        if ctx.kind == "negated":
            return -gradient, None
        places = torch.arange(gradient[0].numel()).view(gradient.shape[1:])
        return gradient * (places % 64 == 0), None  # the same few pixels at every step


class Stubborn(nn.Module):
    """``eval()`` does not reach what is inside."""

    def __init__(self, inside: nn.Module) -> None:
        super().__init__()
        self.inside = inside

    def train(self, mode: bool = True) -> Stubborn:
        return self

    def forward(self, images: Tensor) -> Tensor:
        return self.inside(images)


def in_train_mode(network: nn.Module, kind: str = "") -> nn.Module:
    network = copy.deepcopy(network).eval()
    for module in network.modules():
        if kind in type(module).__name__:
            module.train()
    return network


def behind(network: nn.Module) -> Model:
    """A plain function over a generator, in which nobody finds the network to put it in eval mode."""

    def answers() -> Generator[Tensor, Tensor, None]:
        images = yield torch.empty(0)
        while True:
            images = yield network(images)

    asked = answers()
    next(asked)
    return lambda images: asked.send(images)


BAD: dict[str, tuple[Callable[[nn.Module], Model], set[str]]] = {
    "quantized": (lambda net: lambda x: net(x.mul(15).round() / 15), {"zero_gradients", "unbounded", "beats_search"}),
    "probabilities": (lambda net: lambda x: net(x).softmax(1), {"logits"}),
    "randomized": (lambda net: lambda x: net(x + 0.05 * torch.randn_like(x)), {"repeatable"}),
    "a little randomized": (lambda net: lambda x: net(x + 0.01 * torch.randn_like(x)), {"repeatable"}),
    "vanishing": (lambda net: lambda x: net(x) * 1e-8, {"logit_scale"}),
    "far from zero": (lambda net: lambda x: net(x) + 1e7, {"logit_scale"}),
    "not a number": (lambda net: lambda x: net(x) * torch.tensor([1.0] * 9 + [torch.inf]), {"finite_logits"}),
    "exploding": (lambda net: lambda x: net(x) * 1e4, {"logit_scale", "zero_gradients", "enough_steps"}),
    "dropout": (lambda net: behind(in_train_mode(net, "Dropout")), {"repeatable"}),
    "batch statistics": (lambda net: behind(in_train_mode(net, "BatchNorm")), {"batch_free"}),
    "train mode": (lambda net: behind(in_train_mode(net)), {"repeatable"}),
    "no eval": (lambda net: Stubborn(in_train_mode(net)), {"repeatable", "eval_mode"}),
    "negated": (
        lambda net: lambda x: net(Odd.apply(x, "negated")), {"unbounded", "beats_search", "rising_loss"}
    ),
    "few pixels": (lambda net: lambda x: net(Odd.apply(x, "few")), {"unbounded", "beats_search"}),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_models_are_red_for_their_reason(
    networks: dict[str, nn.Module], digits: tuple[Tensor, Tensor], name: str
) -> None:
    spoil, expected = BAD[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = spoil(networks["dtn"])
        found = trust.examine(model, digits[0][:SAMPLES], digits[1][:SAMPLES], GRID, "linf")
        if name in ("batch statistics", "train mode", "no eval", "not a number"):
            # a batch of one cannot be asked, and what is no number not be attacked: the attack stops
            outcome = evidence(networks["linear"], digits).outcome
        else:
            outcome = evidence(model, digits, samples=1).outcome
    proof = Evidence(outcome, surrogate=found, victim=found)
    red = {check for check, level in blamed(proof).items() if level == "red"}
    assert red >= expected
    assert trust.judge(proof).level == "red"


def test_each_loss_has_its_own_zero_gradients(networks: dict[str, nn.Module], digits: tuple[Tensor, Tensor]) -> None:
    """Cross entropy of logits far apart has none, the margin has."""
    large = BAD["exploding"][0](networks["dtn"])
    seen = trust.examine(large, digits[0][:20], digits[1][:20], [0], "linf").seen
    assert float(seen["zero_gradients/label"].double().mean()) > 0.9
    assert not bool(seen["zero_gradients/margin"].any())


def test_the_victim_is_judged_by_itself(networks: dict[str, nn.Module], digits: tuple[Tensor, Tensor]) -> None:
    images, labels = digits[0][:SAMPLES], digits[1][:SAMPLES]
    a, masked = networks["dtn"], BAD["quantized"][0](networks["dtn"])
    outcome = attacks.evaluate(
        attacks.get("pgd"), surrogate=a, victims={"b": masked}, images=images, labels=labels, eps=GRID
    )["b"]
    white = evidence(masked, digits).outcome
    seen = {model: trust.examine(model, images, labels, GRID, "linf") for model in (a, masked)}
    without = Evidence(outcome, surrogate=seen[a], victim=seen[a])
    assert blamed(without) == {}
    assert blamed(Evidence(outcome, surrogate=seen[a], victim=seen[masked])) == {"beats_transfer": "red"}
    assert blamed(Evidence(outcome, beside={"white": white}, surrogate=seen[a])) == {"beats_transfer": "red"}
    good = evidence(networks["residual"], digits)
    black = attacks.evaluate(
        attacks.get("pgd"), surrogate=a, victims={"b": networks["residual"]}, images=images, labels=labels, eps=GRID
    )["b"]
    assert blamed(Evidence(black, beside={"white": good.outcome}, surrogate=seen[a], victim=good.surrogate)) == {}


def test_an_examination_is_repeatable_and_free_of_order_and_mode(
    networks: dict[str, nn.Module], digits: tuple[Tensor, Tensor]
) -> None:
    images, labels, net = digits[0][:200], digits[1][:200], networks["linear"]
    ids = torch.arange(200) * 7 + 3
    net.train()
    state = torch.get_rng_state()
    first = trust.examine(net, images, labels, [0.25, 0, 0.1], "linf", sample_id=ids, seed=5, samples=30)
    assert torch.equal(state, torch.get_rng_state())
    assert net.training
    assert all(parameter.requires_grad for parameter in net.parameters())
    net.eval()
    order = torch.randperm(200, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        again = trust.examine(
            net, images[order], labels[order], [0, 0.1, 0.25], "linf", sample_id=ids[order], seed=5, samples=30
        )
    assert torch.equal(first.sample_id, again.sample_id)
    assert torch.equal(first.eps, again.eps)
    assert first.eps.tolist() == [0.1, 0.25]
    assert first.seen.keys() == again.seen.keys()
    assert all(torch.equal(value, again.seen[name]) for name, value in first.seen.items())
    other = trust.examine(net, images, labels, [0.1], "linf", sample_id=ids, seed=6, samples=30)
    assert not torch.equal(first.sample_id, other.sample_id)
    assert all(value.device.type == "cpu" and not value.requires_grad for value in first.seen.values())
    assert len(first.seen["unbounded/right"]) == 30


def test_at_most_three_sizes_spread_over_the_grid(
    networks: dict[str, nn.Module], digits: tuple[Tensor, Tensor]
) -> None:
    images, labels = digits[0][:8], digits[1][:8]
    for grid, some in (
        ([0], []), ([0.3], [0.3]), ([0.1, 0], [0.1]), ([0, 0.1, 0.2], [0.1, 0.2]), ([0.3, 0.1, 0.2], [0.1, 0.2, 0.3]),
        ([place / 16 for place in range(17)], [1 / 16, 8 / 16, 1.0]),
    ):  # fmt: skip
        assert trust.examine(networks["linear"], images, labels, grid, "linf").eps.tolist() == some


@pytest.mark.parametrize(("norm", "values"), [("linf", 1), ("l2", 768**0.5), ("l1", 768)])
def test_rounding_adds_half_a_gray_level_a_value(networks: dict[str, nn.Module], norm: str, values: float) -> None:
    found = trust.examine(networks["linear"], torch.rand(2, 3, 16, 16), None, [0], norm)
    assert found.seen["within_budget/rounding"].item() == pytest.approx(0.5 / 255 * values, rel=1e-5)


def test_bad_input_is_told(networks: dict[str, nn.Module], digits: tuple[Tensor, Tensor]) -> None:
    net, images, labels = networks["linear"], digits[0][:9], digits[1][:9]
    for change, error, text in (
        ({"labels": labels[:5]}, ConfigError, r"labels must be int64 \[9\]"),
        ({"labels": labels.float()}, ConfigError, "labels must be int64"),
        ({"sample_id": labels[:5]}, ConfigError, "sample_id must be int64"),
        ({"samples": 0}, ConfigError, "samples of at least 1"),
        ({"images": images[:0], "labels": None}, ConfigError, "at least one image"),
        ({"images": images * 255}, ConfigError, r"\[0, 1\]"),
        ({"images": (images * 255).byte()}, ConfigError, "floating point"),
        ({"eps": []}, ConfigError, "eps is an empty list"),
        ({"eps": [8]}, ConfigError, "write 8/255"),
        ({"norm": "l7"}, UnknownNameError, "l7"),
    ):
        given: dict[str, Any] = {"images": images, "labels": labels, "eps": GRID, "norm": "linf"} | change
        with pytest.raises(error, match=text):
            trust.examine(net, **given)


def test_it_costs_less_than_two_hundred_gradients_a_sample(
    networks: dict[str, nn.Module], digits: tuple[Tensor, Tensor]
) -> None:
    """Images with gradient count 1, those without a third; the worst case is a grid where nothing breaks."""
    spent = 0.0

    def counted(images: Tensor) -> Tensor:
        nonlocal spent
        spent += len(images) * (1 if images.requires_grad else 1 / 3)
        return networks["robust"](images)

    for eps in (GRID, [0.0001, 0.0002, 0.0003]):
        spent = 0.0
        trust.examine(counted, digits[0][:SAMPLES], digits[1][:SAMPLES], eps, "linf")
        assert spent / SAMPLES < 200
