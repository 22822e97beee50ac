"""Real digits, and networks that learned them."""

from __future__ import annotations

import copy

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import interpolate

from tests.trust.trained import Residual, train
from tl_robust.models.networks.dtn import DTN


@pytest.fixture(scope="session")
def digits() -> tuple[Tensor, Tensor]:
    """Of scikit-learn as [1797,3,16,16]; the first 400 are for tests."""
    bunch = load_digits()
    images = interpolate(torch.from_numpy(bunch.images).float().div(16)[:, None], size=(16, 16), mode="bilinear")
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    return images.expand(-1, 3, -1, -1)[order].contiguous(), torch.from_numpy(bunch.target).long()[order]


@pytest.fixture(scope="session")
def networks(digits: tuple[Tensor, Tensor]) -> dict[str, nn.Module]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        dtn = DTN((3, 16, 16), 10, width=0.25)
        robust = train(copy.deepcopy(dtn), digits, 8, eps=0.08)
        linear = train(nn.Sequential(nn.Flatten(), nn.Linear(768, 10)), digits, 4, lr=0.01)
        residual = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), Residual(8, 16), Residual(16, 32),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10),
        )  # fmt: skip
        return {
            "dtn": train(dtn, digits, 6), "robust": robust, "linear": linear, "residual": train(residual, digits, 4)
        }  # fmt: skip
