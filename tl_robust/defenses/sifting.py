"""Secured training data: filters that score every training image and leave out those that look poisoned.

Axes: N images, F features.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from typing_extensions import override

from tl_robust.defenses.adaptive import Adaptive
from tl_robust.defenses.base import Defense
from tl_robust.errors import ConfigError
from tl_robust.models.features import features, logits
from tl_robust.types import ImageSet
from tl_robust.types.terms import ATLAS, NIST, Terms

ROLES = ("victim", "origin")
AT_TEST = Adaptive("A filter changes what is learned from and nothing about the answers: the network's own gradient.")


@dataclass(frozen=True)
class Filter(Defense):
    """Base of all filters: an image has a score, and what is kept follows from the scores of all.

    Attributes:
        on: Whose training images are filtered: the ``victim``'s, or the ``origin``'s (A's, by whoever publishes it).

    Raises:
        ConfigError: No such side; later: no training image is left.
    """

    TERMS: ClassVar[Terms] = {NIST: "mitigation, training data sanitization", ATLAS: "AML.M0007"}
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
            others: Networks by :attr:`asks`, on any device.

        Raises:
            ConfigError: A network gives values that are not finite, or cannot be asked this.
        """

    @abstractmethod
    def kept(self, images: ImageSet, scores: Tensor) -> Tensor:
        """Bool ``[N]``, which of the images are learned from."""

    @override
    def images(self, images: ImageSet, others: Mapping[str, nn.Module]) -> ImageSet:
        kept = self.kept(images, self.scores(images, others))
        if not bool(kept.any()):
            raise ConfigError(f"{self} leaves no training image: use milder settings.")
        return images if bool(kept.all()) else images.take(kept.cpu().nonzero()[:, 0])

    def features(self, images: ImageSet, others: Mapping[str, nn.Module]) -> Tensor:
        """What the suspicious model makes of the images before its last layer, float64 ``[N,F]``."""
        return self._finite(features(others[self.asks[0]], images.images)).double()

    def losses(self, images: ImageSet, others: Mapping[str, nn.Module]) -> Tensor:
        """Cross-entropy of each image under the model that is asked, float32 ``[N]``.

        Raises:
            ConfigError: The model has fewer classes than the labels.
        """
        given = logits(others[self.asks[0]], images.images)
        if given.shape[1] <= int(images.labels.max()):
            raise ConfigError(
                f"{self} asks a model of {given.shape[1]} classes about labels up to {int(images.labels.max())}: use "
                "it where both models have the same classes, or another filter."
            )
        return self._finite(cross_entropy(given, images.labels, reduction="none"))

    def _finite(self, values: Tensor) -> Tensor:
        if not bool(values.isfinite().all()):
            raise ConfigError(f"the model that {self} asks gives values that are not finite: lower its learning rate.")
        return values


@dataclass(frozen=True)
class Budgeted(Filter):
    """A filter that removes as many images as its owner expects to be poisoned, and some more.

    Attributes:
        expected: Share of the images that is expected to be poisoned, above 0 and below 1; a guess, since nobody who
            filters knows it.
        budget: So many times the expected number is removed, above 0.
    """

    expected: float = 0.05
    budget: float = 1.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.expected < 1 or self.budget <= 0:
            raise ConfigError(
                f"a filter needs 'expected' above 0 and below 1 and 'budget' above 0, got {self.expected} and "
                f"{self.budget}."
            )

    def count(self, images: ImageSet) -> int:
        """How many images the budget removes."""
        return round(self.budget * self.expected * len(images))


@dataclass(frozen=True)
class LossFilter(Budgeted):
    """A filter that removes the images whose scores, made of losses, are the highest of all."""

    @override
    def kept(self, images: ImageSet, scores: Tensor) -> Tensor:
        kept = torch.ones(len(scores), dtype=torch.bool, device=scores.device)
        kept[highest(scores, self.count(images))] = False
        return kept

    @override
    def adaptive(self) -> tuple[Adaptive, ...]:
        unseen = Adaptive(
            "A stamped image that has its own class's label has a loss as small as any other of that class.",
            backdoor="labels=clean, rate=0.05",
        )
        more = Adaptive(
            "Twice as many images are poisoned as the budget removes.",
            backdoor=f"rate={min(2 * self.budget * self.expected, 0.5):g}",
        )
        return (AT_TEST, unseen, more)


def highest(scores: Tensor, count: int) -> Tensor:
    """Places of the ``count`` highest of scores ``[N]``, int64 ``[count]``; of equal ones those that come first."""
    return scores.argsort(descending=True, stable=True)[:count]
