"""Fewer bits a pixel, the median of its neighbors, and compression as JPEG."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn
from typing_extensions import override

from tl_robust.defenses.adaptive import Adaptive
from tl_robust.defenses.base import DEFENSES, Defense
from tl_robust.defenses.squeezers import fewer_bits, jpeg, median
from tl_robust.errors import ConfigError
from tl_robust.models.guard import Guard
from tl_robust.types.terms import ATLAS, NIST, Terms


@DEFENSES.register
@dataclass(frozen=True)
class Squeeze(Defense):
    """Xu, Evans, Qi, "Feature squeezing", NDSS 2018, and JPEG after Guo et al., "Countering adversarial images", 2018.

    An image goes through ``bits``, then ``median``, then ``jpeg``; for another order put several behind each other: of
    ``squeeze(bits=3) + squeeze(bits=8, median=2)`` the last is the first that an image meets.

    Attributes:
        bits: Bits of a channel of a pixel, from 1 to 8, which images have.
        median: Side of the window, in pixels; 0 or 1: none.
        jpeg: Quality from 1 to 100; 0: none.
    """

    TERMS: ClassVar[Terms] = {NIST: "mitigation", ATLAS: "AML.M0010"}
    VERSION: ClassVar[int] = 2  # in version 1 a mirror image did not repeat the pixels of the edge
    NEUTRAL = {"bits": 8}

    bits: int = 3
    median: int = 0
    jpeg: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= 8 or not 0 <= self.median <= 9 or not 0 <= self.jpeg <= 100:
            raise ConfigError(
                f"squeeze needs bits from 1 to 8, median 0 or a side up to 9 pixels, jpeg 0 or a quality up to 100, "
                f"got {self}."
            )

    @override
    def wrap(self, network: nn.Module, fitted: Mapping[str, Tensor]) -> nn.Module:
        links = [fewer_bits(self.bits)] if self.bits < 8 else []
        links += [median(self.median)] if self.median > 1 else []
        links += [jpeg(self.jpeg)] if self.jpeg else []
        return Guard(network, links)

    @override
    def adaptive(self) -> tuple[Adaptive, ...]:
        rounds, also = self.bits < 8 or self.jpeg > 0, ", for JPEG" if self.jpeg else ""
        known = f"The identity stands for rounding{also} (BPDA), and the median has a subgradient."
        attacks = [Adaptive(known, "straight_through" if rounds else "exact")]
        attacks += [SMOOTH] if self.median > 1 else []
        return (*attacks, SEARCH, STRONG) if rounds else (*attacks, STRONG)


SMOOTH = Adaptive("The identity stands for the median, too (BPDA).", "straight_through(identity=True)")
SEARCH = Adaptive("A random search needs no gradient (Square, ECCV 2020).", view="white", attack="square(queries=200)")
STRONG = Adaptive("A strong pattern all over the image stays (Chen et al., 2017).", backdoor="blend(alpha=0.4)")
