"""Auto-PGD against algorithm 1 of the paper written out for one sample at a time, in float64."""

import math
from functools import lru_cache

import pytest
import torch
from torch import Tensor, nn

from tl_robust import attacks
from tl_robust.attacks import Problem
from tl_robust.attacks.norms import get_norm

NORMS = pytest.mark.parametrize(("norm", "eps"), [("linf", 0.03), ("l2", 0.6)])
LOSSES = pytest.mark.parametrize("name", ["apgd_ce", "apgd_dlr", "apgd_t"])
CLASSES = 5


@lru_cache
def net() -> nn.Module:
    torch.manual_seed(3)
    layers = nn.Conv2d(3, 6, 3, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(6 * 36, 20), nn.Tanh()
    module = nn.Sequential(*layers, nn.Linear(20, CLASSES)).double()
    with torch.no_grad():
        module[-1].weight.mul_(6)
    return module


def data(samples: int = 6) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(5)
    images = torch.rand(samples, 3, 6, 6, generator=draw, dtype=torch.float64).mul(1.4).sub(0.2).clamp(0, 1)
    return images, net()(images).argmax(1)


def naive_loss(name: str, logits: Tensor, label: int, target: int) -> Tensor:
    if name == "apgd_ce":
        return torch.logsumexp(logits, 0) - logits[label]
    order = sorted(logits, reverse=True)
    if name == "apgd_dlr":
        other = max(value for place, value in enumerate(logits) if place != label)
        return -(logits[label] - other) / (order[0] - order[2] + 1e-12)
    return -(logits[label] - logits[target]) / (order[0] - (order[2] + order[3]) / 2 + 1e-12)


def naive_apgd(
    name: str, clean: Tensor, label: int, target: int, start: Tensor, norm: str, eps: float, steps: int, early: bool
) -> tuple[Tensor, int]:
    """Images of one sample ``[C,H,W]`` and the number of halvings; checkpoints as in section 3.2 of the paper."""
    model = net()
    ends, share = [0.0, 0.22], 0.22
    while ends[-1] < 1:
        share = max(share - 0.03, 0.06)
        ends.append(ends[-1] + share)
    checks = [math.ceil(end * steps - 1e-9) for end in ends]

    def evaluate(x: Tensor) -> tuple[float, Tensor, bool]:
        x = x.clone().requires_grad_()
        logits = model(x[None])[0]
        loss = naive_loss(name, logits, label, target)
        return float(loss.detach()), torch.autograd.grad(loss, x)[0], int(logits.argmax()) != label

    def inside(x: Tensor) -> Tensor:
        delta = x - clean
        delta = delta.clamp(-eps, eps) if norm == "linf" else delta * min(1.0, eps / max(float(delta.norm()), 1e-300))
        return (clean + delta).clamp(0, 1)

    def climb(x: Tensor, gradient: Tensor) -> Tensor:
        return inside(x + step * (gradient.sign() if norm == "linf" else gradient / gradient.norm()))

    step, halvings = 2 * eps, 0
    losses, steps_at, bests_at = [], {}, {}
    before = x = start
    best, best_loss, best_gradient = x, -math.inf, None
    for place in range(steps + 1):
        loss, gradient, fooled = evaluate(x)
        if early and fooled:
            return x, halvings
        losses.append(loss)
        if loss > best_loss:
            best, best_loss, best_gradient = x, loss, gradient
        if place == steps:
            break
        if place in checks:
            number = checks.index(place)
            steps_at[number], bests_at[number] = step, best_loss
            if number:
                rises = sum(losses[i + 1] > losses[i] for i in range(checks[number - 1], place))
                few = rises <= 0.75 * (place - checks[number - 1])
                halved_before = number == 1 or steps_at[number] != steps_at[number - 1]
                stuck = not halved_before and bests_at[number] <= bests_at[number - 1]
                if few or stuck:
                    step, halvings, x, gradient = step / 2, halvings + 1, best, best_gradient
        z = climb(x, gradient)
        x, before = z if place == 0 else inside(x + 0.75 * (z - x) + 0.25 * (x - before)), x
    return best, halvings


def naive(name: str, norm: str, eps: float, steps: int, early: bool, start: Tensor) -> tuple[Tensor, int]:
    images, labels = data()
    found, halvings = [], 0
    for image, label, first in zip(images, labels.tolist(), start, strict=True):
        order = net()(image[None])[0].argsort(descending=True).tolist()
        target = next(place for place in order if place != label)
        result, count = naive_apgd(name, image, label, target, first, norm, eps, steps, early)
        found.append(result)
        halvings += count
    return torch.stack(found), halvings


def started(norm: str, eps: float) -> Tensor:
    images, _ = data()
    return (images + eps * get_norm(norm).random(7, torch.arange(len(images)), images)).clamp(0, 1)


@NORMS
@LOSSES
@pytest.mark.parametrize("steps", [1, 100])
@pytest.mark.parametrize("early", [False, True])
def test_it_equals_the_algorithm_sample_by_sample(name: str, norm: str, eps: float, steps: int, early: bool) -> None:
    images, labels = data()
    attack = attacks.get(name, norm=norm, steps=steps, **({"restarts": 1} if name == "apgd_t" else {}))
    eps = eps / 3 if early else eps  # some stand and some fall
    found = attack(net(), images, labels, [eps], seed=7, early=early)[0]
    expected, halvings = naive(name, norm, eps, steps, early, started(norm, eps))
    assert float((found - expected).abs().max()) < 1e-9
    if steps == 100 and not early:
        assert halvings >= len(images)  # the checks were at work
        standing = net()(expected).argmax(1) == labels
        assert not bool(standing.all())


def test_the_settings_are_those_of_autoattack() -> None:
    for name, objective, restarts in (
        ("apgd_ce", "label", 1),
        ("apgd_dlr", "dlr", 1),
        ("apgd_t", "target(form=dlr)", 9),
    ):
        expected = {"steps": 100, "step_size": 2.0, "rule": "apgd", "objective": objective, "restarts": restarts}
        assert attacks.get(name) == attacks.get(name, random_start=True, **expected)


@NORMS
def test_the_last_images_count_where_only_they_fool_the_model(norm: str, eps: float) -> None:
    """In one step the loss falls from 1.5 to 0.7, yet at the end the model gives another class."""
    moved = False

    def model(x: Tensor) -> Tensor:
        """Right until the first gradient is taken."""
        nonlocal moved
        logits = [1.0, 1.01, -9.0, -9.0, -9.0] if moved else [1.0, 0.9, 0.9, 0.9, 0.9]
        moved |= x.requires_grad
        return torch.tensor(logits, dtype=torch.float64) + 1e-9 * x.sum(dim=(1, 2, 3))[:, None] * torch.arange(5).eq(1)

    images, labels = data(1)[0], torch.zeros(1, dtype=torch.int64)
    start = (images + eps * get_norm(norm).random(0, torch.arange(1), images)).clamp(0, 1)
    for early in (True, False):
        moved = False
        found = attacks.get("apgd_ce", norm=norm, steps=1)(model, images, labels, [eps], early=early)[0]
        assert torch.equal(found, start) != early  # in transfer the largest loss counts


@NORMS
@LOSSES
def test_it_reaches_no_less_loss_than_pgd_in_as_many_steps(name: str, norm: str, eps: float) -> None:
    images, labels = data(40)
    settings = {"norm": norm, "steps": 30, "restarts": 1}
    goal = attacks.get(name).objective
    problem = Problem(net(), attacks.get(name).goal, images, labels, torch.arange(40), 0, get_norm(norm))
    losses = [
        problem.loss(attack(net(), images, labels, [eps])[0]).mean()
        for attack in (attacks.get(name, **settings), attacks.get("pgd", objective=goal, **settings))
    ]
    assert float(losses[0]) > float(losses[1]) - 1e-9  # both may reach the top


def test_each_restart_of_apgd_t_aims_at_the_next_class() -> None:
    images, labels = data(4)
    goal = attacks.get("apgd_t").goal
    problem = Problem(net(), goal, images, labels, torch.arange(4), 0, get_norm("linf"))
    ranks = net()(images).argsort(1, descending=True)
    for restart in range(2 * (CLASSES - 1)):
        expected = ranks[:, 1 + restart % (CLASSES - 1)]  # the label is the most probable
        assert torch.equal(problem.restarted(restart).reference, torch.stack([labels, expected], 1))
