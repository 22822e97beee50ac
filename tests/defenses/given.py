"""Made problems for filters: a network whose features before the last layer are the pixels themselves.

And one for detectors: a small network that reads digits.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tl_robust.types import ImageSet

Numbers = NDArray[np.float64]


class Given(nn.Module):
    """Features are the pixels, in [0,1]; logits are a fixed linear function of them."""

    def __init__(self, features: int, classes: int = 4) -> None:
        super().__init__()
        self.flat, self.classifier = nn.Flatten(), nn.Linear(features, classes)
        generator = torch.Generator().manual_seed(9)
        with torch.no_grad():
            for tensor in self.classifier.parameters():
                tensor.copy_(torch.randn(tensor.shape, generator=generator))

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.flat(images))
        return logits


@cache
def reader() -> tuple[nn.Module, ImageSet, ImageSet]:
    """A small network that reads scikit-learn's digits, held-out images, and test images."""
    digits = load_digits()
    order = torch.randperm(1797, generator=torch.Generator().manual_seed(0))  # they come sorted by writers
    images = torch.tensor(digits.images)[order, None].mul(255 / 16).round().to(torch.uint8)
    labels = torch.tensor(digits.target)[order]
    torch.manual_seed(0)
    network = nn.Sequential(
        OrderedDict(
            first=nn.Conv2d(1, 16, 3, padding=1), relu=nn.ReLU(), flat=nn.Flatten(), hidden=nn.Linear(16 * 64, 32),
            again=nn.ReLU(), classifier=nn.Linear(32, 10),
        )
    )  # fmt: skip
    steps = torch.optim.Adam(network.parameters(), 0.003)
    for _ in range(8):
        for batch in torch.randperm(1300).split(64):
            steps.zero_grad()
            cross_entropy(network(images[batch] / 255), labels[batch]).backward()
            steps.step()
    held, test = slice(1300, 1600), slice(1600, 1797)
    return network.eval(), ImageSet(images[held], labels[held]), ImageSet(images[test], labels[test])


def set_of(features: Numbers, labels: list[int]) -> ImageSet:
    """Images ``[N,1,1,F]`` with these features, in pixels from 0 to 255."""
    pixels = torch.from_numpy(features.round().clip(0, 255).astype(np.uint8))
    return ImageSet(pixels[:, None, None], torch.tensor(labels))


def poisoned_problem(rate: float, seed: int = 1, count: int = 400, size: int = 12) -> tuple[ImageSet, Numbers]:
    """Four equally frequent labels, each a cloud; poison of that rate lies in a second cloud of label 0, far away.

    Returns:
        The images in random order, and which of them are poisoned.
    """
    draw = np.random.default_rng(seed)
    labels = np.arange(count) % 4
    poisoned = np.zeros(count, dtype=bool)
    poisoned[draw.choice((labels != 0).nonzero()[0], round(rate * count), replace=False)] = True
    labels[poisoned] = 0
    centers = draw.uniform(90, 160, (4, size))
    features = centers[labels] + draw.normal(0, 6, (count, size))
    features[poisoned] += np.where(np.arange(size) % 2, 40, -40)
    return set_of(features, labels.tolist()), poisoned


def auroc(scores: Tensor, poisoned: Numbers) -> float:
    """Share of the pairs of a poisoned and a clean image that the scores order rightly; half for a tie."""
    bad, good = scores.numpy()[poisoned], scores.numpy()[~poisoned]
    return float(np.mean([(b > good).mean() + (b == good).mean() / 2 for b in bad]))
