"""Small models and images that contracts ask about."""

from __future__ import annotations

import copy
from functools import lru_cache

import torch
from torch import Tensor, nn

CLASSES = 5


class Net(nn.Sequential):
    """Says what its last layer and its blocks are, as the package's networks do."""

    @property
    def classifier(self) -> nn.Module:
        """The last layer."""
        return self[-1]

    @property
    def blocks(self) -> list[nn.Module]:
        """All before it, in two parts."""
        return [self[: len(self) // 2], self[len(self) // 2 : -1]]


def net(dtype: torch.dtype = torch.float32) -> Net:
    """A new copy each, for images ``[N,3,8,8]``; its BatchNorm has seen other images, so that eval and train differ."""
    return copy.deepcopy(_net()).to(dtype)


@lru_cache
def _net() -> Net:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        module = Net(
            nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(0.5),
            nn.Conv2d(6, 8, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 9, CLASSES),
        )  # fmt: skip
        with torch.no_grad():
            for _ in range(20):
                module(torch.rand(32, 3, 8, 8) * 0.5)
            last = module[-1]
            assert isinstance(last, nn.Linear)
            last.weight.mul_(10)
    module.eval()
    return module


def linear(dtype: torch.dtype = torch.float64) -> Net:
    """A linear model of images ``[N,3,8,8]``."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return Net(nn.Flatten(), nn.Linear(3 * 8 * 8, CLASSES)).to(dtype)


def pixels(dtype: torch.dtype = torch.float32, samples: int = 9) -> tuple[Tensor, Tensor]:
    """Images ``[N,3,8,8]`` and labels; pixels at 0 and 1 included, since most steps leave the range there."""
    draw = torch.Generator().manual_seed(5)
    images = torch.rand(samples, 3, 8, 8, generator=draw, dtype=torch.float64).mul(1.4).sub(0.2).clamp(0, 1)
    return images.to(dtype), torch.randint(CLASSES, (samples,), generator=draw)
