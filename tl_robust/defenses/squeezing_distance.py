"""An image is refused that is answered otherwise when it is made coarser."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import torch
from torch import Tensor, nn
from typing_extensions import override

from tl_robust.defenses.adaptive import Adaptive
from tl_robust.defenses.base import DEFENSES
from tl_robust.defenses.detector import Detector, Suspecting
from tl_robust.defenses.squeezers import fewer_bits, median
from tl_robust.errors import ConfigError
from tl_robust.models.guard import Ask

BITS = {"digits": 1}  # as the authors have it by data: 1 for MNIST, 5 for CIFAR-10


@DEFENSES.register
@dataclass(frozen=True)
class SqueezingDistance(Detector):
    """Xu, Evans, Qi, "Feature squeezing", NDSS 2018, as a detector; :mod:`squeeze` changes the image itself.

    The largest L1 distance, from 0 to 2, between the probabilities of the image and of what each squeezer makes of it:
    fewer bits, and a median of 2 x 2 pixels. The answer stays that of the image itself. The authors' third squeezer,
    non-local means, which they add for images in color, is left out.

    Attributes:
        bits: From 1 to 7; 0: the authors', 1 in the space of digits and 5 in others.
        median: Side of the window, from 2 to 9 pixels.
    """

    WAY: ClassVar[str] = "straight_through"
    KNOWN: ClassVar[str] = "The identity stands for rounding, the median has a subgradient (He et al., WOOT 2017)."

    bits: int = 0
    median: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.bits <= 7 or not 2 <= self.median <= 9:
            raise ConfigError(f"squeezing_distance needs bits from 0 to 7 and median from 2 to 9, got {self}.")

    @override
    def suited(self, eps: Sequence[float], space: str) -> Self:
        return replace(self, bits=self.bits or BITS.get(space, 5))

    @override
    def around(self, network: nn.Module, threshold: Tensor, learned: Mapping[str, Tensor]) -> Suspecting:
        return Unsteady(network, threshold, [fewer_bits(self.bits or 5), median(self.median)])

    @override
    def adaptive(self) -> tuple[Adaptive, ...]:
        bent = "An image that is bent is still bent when it is made coarser (Nguyen and Tran, ICLR 2021)."
        return (*super().adaptive(), Adaptive(bent, backdoor="warp"))


class Unsteady(Suspecting):
    """Refuses where squeezers change the answer."""

    def __init__(self, network: nn.Module, threshold: Tensor, squeezers: Sequence[nn.Module]) -> None:
        super().__init__(network, threshold)
        self.squeezers = nn.ModuleList(squeezers)

    @override
    def judged(self, images: Tensor, ask: Ask) -> tuple[Tensor, Tensor]:
        logits = self.inside(images, ask)
        squeezed = [self.inside(ask(squeezer, images), ask) for squeezer in self.squeezers]
        own, *others = (self.classes(each).softmax(1) for each in (logits, *squeezed))
        return logits, torch.stack([(own - other).abs().sum(1) for other in others]).amax(0)
