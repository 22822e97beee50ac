"""Each named transfer attack against a plain loop written from its paper, one sample at a time, in float64."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, cross_entropy, interpolate, pad

from tl_robust import attacks
from tl_robust.seeding import derive, uniform

EPS, SEED, STEPS, SHAPE = 0.08, 5, 4, (3, 10, 10)
ALPHA = EPS / 10
POOL = torch.rand(7, *SHAPE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def net() -> nn.Module:
    """Bent enough that the signs of its gradients change on the way."""
    torch.manual_seed(2)
    model = nn.Sequential(nn.Conv2d(3, 5, 3), nn.Softplus(beta=5), nn.Flatten(), nn.Linear(5 * 64, 4)).double().eval()
    with torch.no_grad():
        model[0].weight.mul_(4)
        model[-1].weight.mul_(2)
    return model


def data() -> tuple[Tensor, Tensor, Tensor]:
    images = torch.rand(6, *SHAPE, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    return images.mul(1.3).sub(0.15).clamp(0, 1), torch.arange(6) % 4, torch.arange(6) * 5 + 2


class Paper:
    """One sample: its image, label, key of the draws, and the gradients that the papers take."""

    def __init__(self, model: nn.Module, image: Tensor, label: int, key: int) -> None:
        self.model, self.image, self.label, self.key = model, image, torch.tensor([label]), torch.tensor([key])
        self.variance = torch.zeros_like(image)

    def gradient(self, x: Tensor) -> Tensor:
        x = x.detach().requires_grad_()
        return torch.autograd.grad(cross_entropy(self.model(x[None]), self.label), x)[0]

    def draw(self, *name: int | str) -> float:
        return float(uniform(derive(SEED, *name), self.key, ()))

    def noise(self, name: str, number: int, size: float) -> Tensor:
        return size * (2 * uniform(derive(SEED, name, number), self.key, SHAPE)[0].double() - 1)

    def bim(self, x: Tensor, step: int) -> Tensor:
        return self.gradient(x)

    mi = ni = bim

    def di(self, x: Tensor, step: int) -> Tensor:
        """Half of the steps: to 10 or 11 pixels, at a random place of 11, and back to 10."""
        x = x.detach().requires_grad_()
        changed = x
        if self.draw("diverse", "change", step) < 0.5:
            size = 10 + int(self.draw("diverse", "size", step) * 2)
            top, left = (int(self.draw("diverse", axis, step) * (12 - size)) for axis in ("height", "width"))
            changed = interpolate(x[None], size=[size, size], mode="bilinear")
            changed = pad(changed, [left, 11 - size - left, top, 11 - size - top])
            changed = interpolate(changed, size=[10, 10], mode="bilinear")[0]
        return torch.autograd.grad(cross_entropy(self.model(changed[None]), self.label), x)[0]

    def ti(self, x: Tensor, step: int) -> Tensor:
        line = torch.exp(-(torch.tensor([-3, -1.5, 0, 1.5, 3], dtype=torch.float64) ** 2) / 2)
        kernel = (line[:, None] * line / line.sum() ** 2).expand(3, 1, 5, 5)
        return conv2d(self.gradient(x)[None], kernel, padding=2, groups=3)[0]

    def si_ni(self, x: Tensor, step: int) -> Tensor:
        return sum(self.gradient(x / 2**i) / 2**i for i in range(5)) / 5

    def vmi(self, x: Tensor, step: int) -> Tensor:
        """The variance is computed at the end of the step, as in algorithm 1."""
        gradient = self.gradient(x)
        tuned = gradient + self.variance
        around = sum(self.gradient(x + self.noise("variance", step * 20 + i, 1.5 * EPS)) for i in range(20)) / 20
        self.variance = around - gradient
        return tuned

    vni = vmi

    def pgn(self, x: Tensor, step: int) -> Tensor:
        total = torch.zeros_like(x)
        for i in range(20):
            near = x + self.noise("flat", step * 20 + i, 3 * EPS)
            first = self.gradient(near)
            total += 0.5 * first + 0.5 * self.gradient(near - ALPHA * first / first.abs().mean())
        return total / 20

    def admix(self, x: Tensor, step: int) -> Tensor:
        total = torch.zeros_like(x)
        for copy in range(3):
            mixed = x + 0.2 * POOL[int(self.draw("admix", step * 3 + copy) * len(POOL))]
            total += sum(self.gradient(mixed / 2**i) / 2**i for i in range(5))
        return total

    def run(self, name: str) -> Tensor:
        """I-FGSM for bim; else momentum 1, and with Nesterov's look ahead where the name has it."""
        x, momentum = self.image, torch.zeros_like(self.image)
        for step in range(STEPS):
            gradient = getattr(self, name)(x + ALPHA * momentum if name.endswith("ni") else x, step)
            momentum = gradient if name == "bim" else momentum + gradient / gradient.abs().sum() * gradient.numel()
            x = x + ALPHA * momentum.sign()
            x = torch.minimum(torch.maximum(x, self.image - EPS), self.image + EPS).clamp(0, 1)
        return x


NAMES = ["bim", "mi", "ni", "di", "ti", "si_ni", "vmi", "vni", "pgn", "admix"]


def ours(name: str, **settings: str) -> Tensor:
    images, labels, ids = data()
    attack = attacks.get(name, steps=STEPS, **settings)
    fitted = attack.fitted(net(), POOL, None, [EPS]) if attack.needs_pool else None
    return attack(net(), images, labels, [EPS], sample_id=ids, seed=SEED, fitted=fitted)[0]


@pytest.mark.parametrize("name", NAMES)
def test_it_equals_a_loop_written_from_the_paper(name: str) -> None:
    expected = torch.stack(
        [Paper(net(), image, int(label), int(key)).run(name) for image, label, key in zip(*data(), strict=True)]
    )
    assert float((ours(name) - expected).abs().max()) < 1e-12


def test_no_two_are_the_same() -> None:
    found = [ours(name) for name in NAMES]
    assert all(not torch.equal(one, other) for place, one in enumerate(found) for other in found[:place])


@pytest.mark.parametrize("name", NAMES)
def test_defaults_are_ten_steps_of_a_tenth_from_the_clean_image(name: str) -> None:
    attack = attacks.get(name)
    assert (attack.steps, attack.step_size, attack.random_start) == (10, 0.1, False)
    assert attack.needs_pool == (name == "admix")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("norm", ["l2", "l1"])
def test_other_norms_keep_their_ball_and_raise_the_loss(name: str, norm: str) -> None:
    images, labels, _ = data()
    attack = attacks.get(name, steps=STEPS, norm=norm)
    size = {"l2": 1.0, "l1": 10.0}[norm]
    found = attack(net(), images, labels, [size])[0]
    change = (found - images).flatten(1).norm(p=int(norm[1]), dim=1)
    assert float(change.max()) <= size * (1 + 1e-9)
    before, after = (cross_entropy(net()(x), labels, reduction="none") for x in (images, found))
    assert bool((after > before).all())
