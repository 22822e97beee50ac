"""The control arm of filters: as many images are removed at random."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from typing_extensions import override

from tl_robust.defenses.adaptive import Adaptive
from tl_robust.defenses.base import DEFENSES
from tl_robust.defenses.sifting import Filter
from tl_robust.errors import ConfigError
from tl_robust.seeding import derive, uniform
from tl_robust.types import ImageSet


@DEFENSES.register
@dataclass(frozen=True)
class RandomRemoval(Filter):
    """As many images as another filter removes, chosen at random, so that what its choice is worth can be told.

    Source: ours.

    It meets the attackers who know that filter. A score is a random rank, so that what is above 0 is removed.

    Attributes:
        like: Name of the other filter, which has its default settings.
        seed: Seed of the choice.
    """

    like: str = "spectral"
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        kind = DEFENSES[self.like]
        if not issubclass(kind, Filter) or issubclass(kind, RandomRemoval):
            raise ConfigError(f"setting 'like' of random_removal must be another filter, got {self.like!r}.")

    @property
    def other(self) -> Filter:
        """The filter that says how many are removed."""
        other = DEFENSES[self.like](on=self.on)  # type: ignore[call-arg]
        assert isinstance(other, Filter)
        return other

    @property
    @override
    def asks(self) -> tuple[str, ...]:
        return self.other.asks

    @override
    def scores(self, images: ImageSet, others: Mapping[str, nn.Module]) -> Tensor:
        kept = int(self.other.kept(images, self.other.scores(images, others)).sum())
        draws = uniform(derive("random_removal", self.seed), torch.arange(len(images)), (1,))[:, 0]
        return (draws.argsort(stable=True).argsort() + 1 - kept).float()

    @override
    def kept(self, images: ImageSet, scores: Tensor) -> Tensor:
        return scores <= 0

    @override
    def adaptive(self) -> tuple[Adaptive, ...]:
        return self.other.adaptive()
