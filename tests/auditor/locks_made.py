"""Small networks that learned real digits, and subjects of audits made of them."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate
from typing_extensions import override

from tl_robust.audit.record import Lock
from tl_robust.auditor.locks import LOCKS, Answer
from tl_robust.auditor.subject import ReadModel, Subject
from tl_robust.data.domains.optdigits import Optdigits
from tl_robust.models.preprocessing import Preprocess, Preprocessing
from tl_robust.types import ImageSet

NAMES = tuple("0123456789")
MEAN, STD = (0.3, 0.45, 0.6), (0.2, 0.3, 0.25)


@cache
def digits(side: int = 16) -> tuple[ImageSet, ImageSet]:
    """Handwritten digits for training and for tests, uint8 ``[N,3,side,side]``, each channel of another contrast."""
    parts = []
    for split in ("train", "test"):
        given = Optdigits().read(split, Path(), False)  # type: ignore[arg-type]
        gray = interpolate(given.images.float(), size=(side, side), mode="bilinear")
        colored = torch.cat([gray, 0.5 * gray + 40, 255 - 0.8 * gray], 1).round().clamp(0, 255).byte()
        mixed = torch.randperm(len(given), generator=torch.Generator().manual_seed(0))  # writers come in turn
        parts.append(ImageSet(colored, given.labels).take(mixed))
    return parts[0], parts[1]


class Plain(nn.Module):
    """Two convolutions, with its normalization or preprocessing first and its last layer last."""

    def __init__(self, first: nn.Module, norm: bool = True, width: int = 16, classes: int = 10) -> None:
        super().__init__()
        self.first = first
        self.body = nn.Sequential(
            nn.Conv2d(3, width, 3, 2, 1), nn.BatchNorm2d(width) if norm else nn.Identity(), nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, 2, 1), nn.BatchNorm2d(2 * width) if norm else nn.Identity(), nn.ReLU(),
            nn.AdaptiveAvgPool2d(2), nn.Flatten(),
        )  # fmt: skip
        self.classifier = nn.Linear(8 * width, classes)

    @override
    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.body(self.first(images)))
        return logits


def prepared(**steps: Any) -> Preprocess:
    """A first layer that resizes and crops."""
    return Preprocess(Preprocessing(**({"mean": MEAN, "std": STD} | steps)))


def train(network: nn.Module, data: ImageSet | None = None, epochs: int = 6, lr: float = 2e-3, seed: int = 0) -> Any:
    """The network in eval mode, after some epochs of Adam; drawn and trained alike whenever."""
    data = data or digits()[0]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for module in network.modules():
            if callable(reset := getattr(module, "reset_parameters", None)):
                reset()
        optimizer = torch.optim.Adam(network.parameters(), lr=lr)
        network.train()
        for _ in range(epochs):
            for part in torch.randperm(len(data)).split(32):
                optimizer.zero_grad()
                cross_entropy(network(data.images[part].float() / 255), data.labels[part]).backward()
                optimizer.step()
    return network.eval()


def subject(network: nn.Module, images: ImageSet | None = None, count: int = 200, **more: Any) -> Subject:
    """An audit of a network on test digits without a parent."""
    some = (images or digits()[1]).take(torch.arange(count)) if images is None else images
    values: dict[str, Any] = {"parent": None, "decoys": (), "stated": math.nan} | more
    return Subject(model=ReadModel("mine", network, NAMES), images=some, classes=NAMES, **values)


def asked(name: str, of: Subject) -> Answer:
    """What one lock says, which must be one sentence."""
    answer = LOCKS[name].answer(of)
    assert answer.reason.endswith(".")
    assert answer.reason[0].isupper() or answer.reason[0].isdigit()
    return answer


def failed(locks: tuple[Lock, ...]) -> list[str]:
    return [lock.name for lock in locks if lock.passed is False]


def relabeled(data: ImageSet, names: list[int]) -> ImageSet:
    """The same images under other labels."""
    return replace(data, labels=torch.tensor(names)[data.labels])
