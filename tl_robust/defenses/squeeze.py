"""Fewer bits a pixel, and the median of its neighbors."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from torch import Tensor, nn
from torch.nn.functional import pad
from typing_extensions import override

from tl_robust.defenses.adaptive import Adaptive
from tl_robust.defenses.base import DEFENSES, Defense
from tl_robust.errors import ConfigError
from tl_robust.models.guard import Guard, Link


@DEFENSES.register
@dataclass(frozen=True)
class Squeeze(Defense):
    """Xu, Evans, Qi, "Feature squeezing", NDSS 2018: ``bits`` of 8, which images have, and odd ``median`` windows."""

    NEUTRAL = {"bits": 8}

    bits: int = 3
    median: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= 8 or self.median not in (0, 1, 3, 5, 7, 9):
            raise ConfigError(f"squeeze needs bits from 1 to 8 and median 0 or an odd side up to 9 pixels, got {self}.")

    @override
    def wrap(self, network: nn.Module, fitted: Mapping[str, Tensor]) -> nn.Module:
        median = partial(_median, self.median)
        bits_links = [Link(partial(_bits, 2**self.bits - 1))] if self.bits < 8 else []
        return Guard(network, bits_links + ([Link(median, stand_in=median)] if self.median > 1 else []))

    @override
    def adaptive(self) -> tuple[Adaptive, ...]:
        way = "straight_through" if self.bits < 8 else "exact"
        rounding = Adaptive("The identity stands for rounding (BPDA), and the median has a subgradient.", way)
        smooth = Adaptive("The identity stands for the median, too (BPDA).", "straight_through(identity=True)")
        return (rounding, smooth) if self.median > 1 else (rounding,)


def _bits(top: int, images: Tensor) -> Tensor:
    return images.mul(top).round().div(top)


def _median(side: int, images: Tensor) -> Tensor:
    around = pad(images, [side // 2] * 4, "reflect").unfold(2, side, 1).unfold(3, side, 1)
    return around.flatten(-2).median(-1).values
