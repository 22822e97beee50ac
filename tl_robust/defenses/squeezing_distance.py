"""An image is refused that is answered otherwise when it is made coarser."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import torch
from torch import Tensor, nn
from typing_extensions import override

from tl_robust.defenses.base import DEFENSES
from tl_robust.defenses.detector import Detector, Suspecting
from tl_robust.defenses.squeezers import fewer_bits, median
from tl_robust.errors import ConfigError
from tl_robust.models.guard import Ask


@DEFENSES.register
@dataclass(frozen=True)
class SqueezingDistance(Detector):
    """Xu, Evans, Qi, "Feature squeezing", NDSS 2018, as a detector; ``squeeze`` changes the image itself.

    The largest L1 distance, from 0 to 2, between the probabilities of the image and of what each squeezer makes of it:
    fewer bits, and a median of 2 x 2 pixels. The authors' third one for color, non-local means, is left out.

    Attributes:
        bits: From 1 to 7; 0: the authors', 1 in the space of digits (theirs of MNIST) and 5 in others (of CIFAR-10).
    """

    WAY: ClassVar[str] = "straight_through"
    KNOWN: ClassVar[str] = "The identity stands for rounding, the median has a subgradient (He et al., WOOT 2017)."
    POISON: ClassVar = ("patch", "What is black and white and large stays when it is made coarser (Gu et al., 2017).")

    bits: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.bits <= 7:
            raise ConfigError(f"squeezing_distance needs bits from 1 to 7, or 0 for the authors', got {self.bits}.")

    @override
    def suited(self, eps: Sequence[float], space: str) -> Self:
        return replace(self, bits=self.bits or (1 if space == "digits" else 5))

    @override
    def around(self, network: nn.Module, threshold: Tensor, learned: Mapping[str, Tensor]) -> Suspecting:
        return Unsteady(network, threshold, [fewer_bits(self.bits or 5), median(2)])


class Unsteady(Suspecting):
    """Refuses where a squeezer changes the answer."""

    @override
    def judged(self, images: Tensor, ask: Ask) -> tuple[Tensor, Tensor]:
        logits = self.inside(images, ask)
        squeezed = [self.inside(ask(squeezer, images), ask) for squeezer in self.links]
        own, *others = (self.classes(each).softmax(1) for each in (logits, *squeezed))
        return logits, torch.stack([(own - other).abs().sum(1) for other in others]).amax(0)
