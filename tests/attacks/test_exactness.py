"""FGSM and PGD against a slow plain loop, against the closed form, and against the scale of the KDD 2020 code."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tl_robust import attacks
from tl_robust.attacks import evaluate
from tl_robust.attacks.norms import pixel_eps
from tl_robust.config import load
from tl_robust.seeding import normal, uniform

NORMS = pytest.mark.parametrize("norm", ["linf", "l2"])
EPS = {"linf": [1 / 255, 2 / 255, 4 / 255, 8 / 255, 16 / 255, 32 / 255, 64 / 255], "l2": [0.05, 0.3, 1.0, 3.0, 10.0]}


def net() -> nn.Module:
    torch.manual_seed(11)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(6 * 64, 5)
    ).eval()  # fmt: skip


def data(samples: int = 12) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(5)
    images = torch.rand(samples, 3, 8, 8, generator=draw).mul(1.4).sub(0.2).clamp(0, 1)
    return images, torch.randint(5, (samples,), generator=draw)


def naive_gradient(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    images = images.clone().requires_grad_(True)
    cross_entropy(model(images), labels, reduction="sum").backward()
    return images.grad


def naive_steepest(gradient: Tensor, norm: str) -> Tensor:
    if norm == "linf":
        return gradient.sign()
    scaled = gradient / gradient.flatten(1).abs().amax(1).view(-1, 1, 1, 1)
    return scaled / scaled.flatten(1).norm(dim=1).view(-1, 1, 1, 1)


def naive_start(images: Tensor, norm: str, seed: int, ids: Tensor) -> Tensor:
    if norm == "linf":
        return uniform(seed, ids, (3, 8, 8)) * 2 - 1
    direction = normal(seed, ids, (3, 8, 8))
    radius = uniform(seed, ids, (1,), stream=2).flatten().pow(1 / (3 * 8 * 8))
    return direction * (radius / direction.flatten(1).norm(dim=1)).view(-1, 1, 1, 1)


def naive_pgd(
    model: nn.Module, clean: Tensor, labels: Tensor, eps: float, norm: str, steps: int, share: float, start: Tensor
) -> Tensor:
    images = torch.clamp(clean + eps * start, min=0, max=1)
    for _ in range(steps):
        images = images + (share * eps) * naive_steepest(naive_gradient(model, images, labels), norm)
        delta = images - clean
        if norm == "linf":
            delta = torch.clamp(delta, min=-eps, max=eps)
        else:
            size = delta.flatten(1).norm(dim=1)
            factor = torch.ones_like(size)
            factor[size > eps] = eps / size[size > eps]
            delta = delta * factor.view(-1, 1, 1, 1)
        images = torch.clamp(clean + delta, min=0, max=1)
    return images


@NORMS
def test_fgsm_equals_a_plain_loop_bit_for_bit_at_every_eps(norm: str) -> None:
    images, labels = data()
    found = attacks.get("fgsm", norm=norm)(net(), images, labels, EPS[norm])
    for size, adversarial in zip(EPS[norm], found, strict=True):
        direction = naive_steepest(naive_gradient(net(), images, labels), norm)
        assert torch.equal(adversarial, torch.clamp(images + size * direction, min=0, max=1))


@NORMS
@pytest.mark.parametrize("random_start", [True, False])
@pytest.mark.parametrize(("steps", "share"), [(10, 0.25), (3, 0.7), (1, 1.0)])
def test_pgd_equals_a_plain_loop_bit_for_bit_at_every_eps(
    norm: str, random_start: bool, steps: int, share: float
) -> None:
    images, labels = data()
    ids = torch.arange(len(images)) * 3 + 100
    attack = attacks.get("pgd", norm=norm, steps=steps, step_size=share, random_start=random_start)
    found = attack(net(), images, labels, EPS[norm], sample_id=ids, seed=21)
    start = naive_start(images, norm, 21, ids) if random_start else torch.zeros_like(images)
    for size, adversarial in zip(EPS[norm], found, strict=True):
        assert torch.equal(adversarial, naive_pgd(net(), images, labels, size, norm, steps, share, start))


def test_the_defaults_of_pgd_are_those_of_the_protocol() -> None:
    assert attacks.get("pgd") == attacks.get("pgd", norm="linf", steps=10, step_size=0.25, random_start=True)


@NORMS
def test_one_full_step_of_pgd_from_the_clean_image_is_fgsm(norm: str) -> None:
    images, labels = data()
    pgd = attacks.get("pgd", norm=norm, steps=1, step_size=1.0, random_start=False)(net(), images, labels, EPS[norm])
    fgsm = attacks.get("fgsm", norm=norm)(net(), images, labels, EPS[norm])
    assert float((pgd - fgsm).abs().max()) < 1e-6


@NORMS
@pytest.mark.parametrize("classes", [2, "sigmoid"])
@pytest.mark.parametrize(
    ("name", "settings"), [("fgsm", {}), ("pgd", {}), ("pgd", {"steps": 60}), ("pgd", {"random_start": False})]
)
def test_on_a_linear_model_the_closed_form_optimum_is_reached(
    norm: str, name: str, settings: dict[str, int | bool], classes: int | str
) -> None:
    """The loss log(1 + exp(-margin)) falls with the margin, and eps moves that by eps times the dual norm of w.

    In L2 the random start fades by 1 / 1.25 a step: the default 10 steps use over 95 % of the budget, 60 use it all.
    """
    torch.manual_seed(4)
    weight = torch.randn(2, 48, dtype=torch.float64)
    if classes == "sigmoid":  # one weight vector, logits (0, w x + b)
        weight[0] = 0
    bias = torch.randn(2, dtype=torch.float64)

    def model(x: Tensor) -> Tensor:
        return x.flatten(1) @ weight.T + bias

    images = torch.rand(20, 3, 4, 4, dtype=torch.float64) * 0.2 + 0.4  # far from 0 and 1: nothing is clipped
    labels = torch.randint(2, (20,))
    difference = weight[1] - weight[0]
    dual = difference.abs().sum() if norm == "linf" else difference.square().sum().sqrt()
    logits = model(images)
    margin = (logits[:, 1] - logits[:, 0]) * (2 * labels - 1)
    eps = [0.01, 0.05, 0.3]
    found = attacks.get(name, norm=norm, **settings)(model, images, labels, eps)
    assert float(found.min()) > 0
    assert float(found.max()) < 1
    fades = name == "pgd" and norm == "l2" and not settings
    for size, adversarial in zip(eps, found, strict=True):
        loss = cross_entropy(model(adversarial), labels, reduction="none")
        best, least = (torch.log1p(torch.exp(share * size * dual - margin)) for share in (1, 0.95 if fades else 1))
        assert bool((loss <= best * (1 + 1e-9)).all())
        assert bool((loss >= least * (1 - 1e-9)).all())


class Counting(nn.Module):
    """Counts images that went forward, forward with gradient, and backward."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = net()
        self.forward_images = self.gradient_images = self.backward_images = 0

    def forward(self, images: Tensor) -> Tensor:
        self.forward_images += len(images)
        if images.requires_grad:
            self.gradient_images += len(images)
            images.register_hook(self._backward)
        return self.inner(images)

    def _backward(self, gradient: Tensor) -> None:
        self.backward_images += len(gradient)


@NORMS
@pytest.mark.parametrize("sizes", [1, 2, 7])
@pytest.mark.parametrize("others", [0, 1, 4])
def test_fgsm_takes_one_gradient_a_sample_for_any_number_of_eps_and_victims(norm: str, sizes: int, others: int) -> None:
    images, labels = data()
    surrogate, victims = Counting(), [Counting() for _ in range(others)]
    named = {"itself": surrogate} | {str(place): victim for place, victim in enumerate(victims)}
    eps = [0.0, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07][: sizes + 1]
    evaluate(
        attacks.get("fgsm", norm=norm), surrogate=surrogate, victims=named, images=images, labels=labels, eps=eps,
        batch_size=5,
    )  # fmt: skip
    assert surrogate.backward_images == surrogate.gradient_images == len(images)
    assert [victim.backward_images + victim.gradient_images for victim in victims] == [0] * others


@NORMS
def test_pgd_takes_a_gradient_a_step_and_eps(norm: str) -> None:
    images, labels = data()
    surrogate, victim = Counting(), Counting()
    evaluate(
        attacks.get("pgd", norm=norm, steps=4), surrogate=surrogate, victims={"b": victim}, images=images,
        labels=labels, eps=[0.0, 0.01, 0.02, 0.03],
    )  # fmt: skip
    assert surrogate.backward_images == surrogate.gradient_images == 4 * 3 * len(images)  # none for eps 0
    assert victim.backward_images == victim.gradient_images == 0


@pytest.mark.parametrize("k", [4, 8, 16, 32])
def test_fgsm_in_the_space_of_kdd20_is_ours_at_half_the_eps(k: int) -> None:
    """There: inputs 2x - 1, eps k/255 in that space, clipped to [-1,1]."""
    images, labels = data()
    inner = net()

    def ours(x: Tensor) -> Tensor:
        return inner(2 * x - 1)

    scaled = 2 * images - 1
    theirs = torch.clamp(scaled + k / 255 * naive_gradient(inner, scaled, labels).sign(), min=-1, max=1)
    found = attacks.get("fgsm")(ours, images, labels, [pixel_eps(k / 255, -1, 1)])[0]
    assert float((found - (theirs + 1) / 2).abs().max()) < 1e-6
    assert float((found - images).abs().max()) == pytest.approx(k / 510, abs=1e-6)


def test_a_bench_file_in_the_scale_of_kdd20(tmp_path: Path) -> None:
    path = tmp_path / "old.yaml"
    path.write_text("""
name: old
eps_scale: kdd20
eps: [0, 4/255, 8/255, 16/255, 32/255]
axes:
  pair: [mnist-usps]
  strategy: [scratch]
  attack: [fgsm, {name: pgd, eps: [0.125]}]
""")
    fgsm, pgd = load(path).bench.axes.attack
    assert fgsm.x == (0.0, 4 / 510, 8 / 510, 16 / 510, 32 / 510)
    assert pgd.x == (0.0625,)  # "eps = 0.125" of the paper is about 16/255 in pixels
    assert pgd.x[0] == pytest.approx(16 / 255, rel=0.005)
    assert load(path, ["eps_scale=pixel"]).bench.axes.attack[0].x == (0.0, 4 / 255, 8 / 255, 16 / 255, 32 / 255)
