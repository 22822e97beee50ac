"""Strength beside torchattacks on small trained nets; needs that package, so it skips without it."""

from functools import lru_cache

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate

from tl_robust import attacks
from tl_robust.models import NETWORKS

torchattacks = pytest.importorskip("torchattacks")
pytestmark = pytest.mark.parity
CASES = pytest.mark.parametrize(
    ("network", "norm", "eps"),
    [("dtn", "linf", 0.06), ("dtn", "l2", 0.6), ("resnet", "linf", 0.045), ("resnet", "l2", 0.45)],
)
THEIR_NORM = {"linf": "Linf", "l2": "L2"}
SEEDS = 5  # one seed moves either by up to 3 images of 200
STEPS = 10  # torchattacks.AutoAttack cannot take more


class Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return (x + self.inner(x)).relu()


def digits() -> tuple[Tensor, Tensor]:
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(images))
    small = torch.from_numpy(images[order] / 16).float().view(-1, 1, 8, 8)
    return interpolate(small, 16, mode="bilinear"), torch.from_numpy(labels[order]).long()


@lru_cache
def trained(network: str) -> nn.Module:
    torch.manual_seed(0)
    model = NETWORKS["dtn"]((1, 16, 16), 10, width=0.25) if network == "dtn" else nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU(), Residual(12), nn.MaxPool2d(2), Residual(12),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(48, 10),
    )  # fmt: skip
    images, labels = digits()
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    model.train()
    for _ in range(8):
        for part in torch.randperm(1400).split(64):
            optimizer.zero_grad()
            cross_entropy(model(images[part]), labels[part]).backward()
            optimizer.step()
    return model.eval()


def held_out() -> tuple[Tensor, Tensor]:
    images, labels = digits()
    return images[-200:], labels[-200:]


held_out.__test__ = False


def right(model: nn.Module, images: Tensor, labels: Tensor) -> int:
    with torch.no_grad():
        return int((model(images).argmax(1) == labels).sum())


@CASES
def test_strong_leaves_no_more_than_autoattack(network: str, norm: str, eps: float) -> None:
    model, (images, labels) = trained(network), [part[:100] for part in held_out()]
    ours = attacks.get("strong", norm=norm, steps=STEPS)(model, images, labels, [eps], early=True)[0]
    theirs = torchattacks.AutoAttack(model, norm=THEIR_NORM[norm], eps=eps, seed=0)(images, labels)
    counts = [right(model, found, labels) for found in (images, ours, theirs)]
    assert 10 <= counts[1] <= counts[2] <= 90, f"right at first, left by strong, left by AutoAttack, of 100: {counts}"


@CASES
@pytest.mark.parametrize(("name", "loss"), [("apgd_ce", "ce"), ("apgd_dlr", "dlr")])
def test_apgd_is_as_strong_as_theirs(network: str, norm: str, eps: float, name: str, loss: str) -> None:
    model, (images, labels) = trained(network), held_out()
    counts = []
    for seed in range(SEEDS):
        ours = attacks.get(name, norm=norm, steps=50, restarts=2)
        their = torchattacks.APGD(model, norm=THEIR_NORM[norm], eps=eps, steps=50, n_restarts=2, loss=loss, seed=seed)
        found = ours(model, images, labels, [eps], seed=seed, early=True)[0], their(images, labels)
        counts.append([right(model, part, labels) for part in found])
    means = torch.tensor(counts, dtype=torch.float64).mean(0)
    assert abs(means[0] - means[1]) <= 1, f"0.5 points are allowed; left by ours and theirs, of 200: {counts}"
