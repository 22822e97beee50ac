"""Isolation by the loss after a few epochs, when poisoned and clean images are learned to a different degree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn
from typing_extensions import override

from tl_robust.defenses.base import DEFENSES
from tl_robust.defenses.sifting import LossFilter
from tl_robust.errors import ConfigError
from tl_robust.types import ImageSet

SIDES = ("high", "low")


@DEFENSES.register
@dataclass(frozen=True)
class EarlyLoss(LossFilter):
    """Li et al., "Anti-Backdoor Learning", NeurIPS 2021, in its isolation, with the side of the loss left open.

    They isolate the images of the lowest loss, since after thousands of steps a backdoor is learned before all else.
    After the few steps of a small set it is the other way round: poisoned images still have the highest loss.

    Attributes:
        side: Which losses are suspicious: ``high`` or ``low`` (theirs).
        epochs: Epochs of the undefended training before the loss is measured, from 0; 0 is what it starts from.
    """

    side: str = "high"
    epochs: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.side not in SIDES or self.epochs < 0:
            raise ConfigError(
                f"early_loss needs side {' or '.join(SIDES)} and epochs from 0, got {self.side!r} and {self.epochs}."
            )

    @property
    @override
    def asks(self) -> tuple[str, ...]:
        return (f"undefended@{self.epochs}",)

    @override
    def scores(self, images: ImageSet, others: Mapping[str, nn.Module]) -> Tensor:
        losses = self.losses(images, others)
        return losses if self.side == "high" else -losses
