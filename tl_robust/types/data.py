"""Images and labels, and how a network is trained on them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from tl_robust.errors import ConfigError, DataError


@dataclass(frozen=True)
class ImageSet:
    """Images and labels of one split of one domain.

    Attributes:
        images: uint8 ``[N,C,H,W]``.
        labels: int64 ``[N]``.

    Raises:
        DataError: Shapes or types differ from that, or there is no image.
    """

    images: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        images, labels = self.images, self.labels
        if images.dtype != torch.uint8 or images.ndim != 4:
            raise DataError(f"images must be uint8 [N,C,H,W], got {images.dtype} {list(images.shape)}.")
        if labels.dtype != torch.int64 or labels.shape != images.shape[:1]:
            raise DataError(
                f"labels must be int64 [{len(images)}], one for each image, got {labels.dtype} {list(labels.shape)}."
            )
        if len(labels) == 0:
            raise DataError("a split has no images: expected at least one.")

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: Tensor) -> ImageSet:
        """The samples at ``index`` (int64 ``[M]``), in that order."""
        return ImageSet(self.images.index_select(0, index), self.labels.index_select(0, index))

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of shape, pixels and labels."""
        content = hashlib.sha256(str(tuple(self.images.shape)).encode())
        content.update(self.images.contiguous().numpy().data)
        content.update(self.labels.contiguous().numpy().data)
        return content.hexdigest()


def _are_epochs(given: object) -> bool:
    return isinstance(given, tuple) and all(isinstance(epoch, int) and epoch >= 1 for epoch in given)


@dataclass(frozen=True)
class Recipe:
    """How one network is trained: stochastic gradient descent, as in the paper's public code.

    Attributes:
        epochs: Passes over the training part.
        batch_size: Images a step (on each device).
        lr: Learning rate, above 0.
        momentum: In [0, 1).
        nesterov: Nesterov's momentum.
        weight_decay: L2 penalty.
        lr_factor: The learning rate is multiplied by this ...
        lr_every: ... every so many epochs, or ...
        lr_at: ... after these epochs, where any are given.
        augment: What is done to training images, a name of ``data/augment.py``; never to those that are attacked.
        val_share: Share of the training split that is held out to choose the epoch, in (0, 0.5].
        select: ``best`` keeps the epoch with the highest validation accuracy (first of equals), ``last`` the last.
            ``test`` learns from the whole training split and keeps the epoch with the highest accuracy on the test
            split, as the paper's code does: results are then too good.
    """

    epochs: int = 10
    batch_size: int = 128
    lr: float = 0.01
    momentum: float = 0.5
    nesterov: bool = False
    weight_decay: float = 1e-6
    lr_factor: float = 0.5
    lr_every: int = 50
    lr_at: tuple[int, ...] = ()
    augment: str = "none"
    val_share: float = 0.1
    select: str = "best"

    def __post_init__(self) -> None:
        if isinstance(self.lr_at, list):  # as YAML has it
            object.__setattr__(self, "lr_at", tuple(self.lr_at))
        for name, good, expected in (
            ("epochs", self.epochs >= 1, "at least 1"),
            ("batch_size", self.batch_size >= 2, "at least 2"),
            ("lr", self.lr > 0, "above 0"),
            ("momentum", 0 <= self.momentum < 1, "in [0, 1)"),
            ("momentum", self.momentum > 0 or not self.nesterov, "above 0 with nesterov"),
            ("weight_decay", self.weight_decay >= 0, "at least 0"),
            ("lr_factor", 0 < self.lr_factor <= 1, "in (0, 1]"),
            ("lr_every", self.lr_every >= 1, "at least 1"),
            ("lr_at", _are_epochs(self.lr_at), "a list of epochs from 1 on"),
            ("val_share", 0 < self.val_share <= 0.5, "in (0, 0.5]"),
            ("select", self.select in ("best", "last", "test"), "best, last or test"),
        ):
            if not good:
                raise ConfigError(f"recipe.{name} must be {expected}, got {getattr(self, name)!r}.")
