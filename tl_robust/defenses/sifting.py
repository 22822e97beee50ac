"""Secured training data: filters that score every training image and leave out those that look poisoned.

Axes: N images.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn
from typing_extensions import override

from tl_robust.defenses.base import Defense
from tl_robust.errors import ConfigError
from tl_robust.types import ImageSet

ROLES = ("victim", "origin")


@dataclass(frozen=True)
class Filter(Defense):
    """Base of all filters: an image has a score, and what is kept follows from the scores of all.

    Attributes:
        on: Whose training images are filtered: the ``victim``'s, or the ``origin``'s (A's, by whoever publishes it).
    """

    ASKS: ClassVar[tuple[str, ...]] = ("undefended",)
    NEUTRAL: ClassVar = {}

    on: str = "victim"

    def __post_init__(self) -> None:
        if self.on not in ROLES:
            raise ConfigError(f"setting 'on' of a filter must be {' or '.join(ROLES)}, got {self.on!r}.")

    @property
    @override
    def role(self) -> str:
        return self.on

    @abstractmethod
    def scores(self, images: ImageSet, others: Mapping[str, nn.Module]) -> Tensor:
        """How suspicious each image is, float32 ``[N]``; the higher, the more.

        Args:
            images: What would be learned from.
            others: Networks in eval mode, by :attr:`ASKS`.
        """

    @abstractmethod
    def kept(self, images: ImageSet, scores: Tensor) -> Tensor:
        """Bool ``[N]``, which of the images are learned from."""

    @override
    def images(self, images: ImageSet, others: Mapping[str, nn.Module]) -> ImageSet:
        kept = self.kept(images, self.scores(images, others))
        if not bool(kept.any()):
            raise ConfigError(f"{self} leaves no training image: use milder settings.")
        return images.take(kept.cpu().nonzero()[:, 0])
