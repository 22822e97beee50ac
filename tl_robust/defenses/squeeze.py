"""Fewer bits a pixel, the median of its neighbors, and compression as JPEG."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from typing_extensions import override

from tl_robust.defenses.adaptive import Adaptive
from tl_robust.defenses.base import DEFENSES, Defense
from tl_robust.errors import ConfigError
from tl_robust.models.guard import Guard, Link


@DEFENSES.register
@dataclass(frozen=True)
class Squeeze(Defense):
    """Xu, Evans, Qi, "Feature squeezing", NDSS 2018, and JPEG after Guo et al., "Countering adversarial images", 2018.

    An image goes through ``bits``, then ``median``, then ``jpeg``; for another order put several behind each other: of
    ``squeeze(bits=3) + squeeze(bits=8, median=2)`` the last is the first that an image meets.

    Attributes:
        bits: Bits of a channel of a pixel, from 1 to 8, which images have.
        median: Side of the window, in pixels; 0 or 1: none. Windows reach beyond the image into its mirror image, an
            even one reaches farther up and left, and the upper of two medians counts, as in SciPy's ``median_filter``.
        jpeg: Quality from 1 to 100; 0: none.
    """

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
        median = partial(_median, self.median)
        links = [Link(partial(_bits, 2**self.bits - 1))] if self.bits < 8 else []
        links += [Link(median, stand_in=median)] if self.median > 1 else []
        links += [Link(partial(_jpeg, self.jpeg))] if self.jpeg else []
        return Guard(network, links)

    @override
    def adaptive(self) -> tuple[Adaptive, ...]:
        way = "straight_through" if self.bits < 8 or self.jpeg else "exact"
        jpeg = ", for JPEG" if self.jpeg else ""
        rounding = Adaptive(f"The identity stands for rounding{jpeg} (BPDA), and the median has a subgradient.", way)
        smooth = Adaptive("The identity stands for the median, too (BPDA).", "straight_through(identity=True)")
        return (rounding, smooth) if self.median > 1 else (rounding,)


def _bits(top: int, images: Tensor) -> Tensor:
    return images.mul(top).round().div(top)


def _median(side: int, images: Tensor) -> Tensor:
    for axis in (2, 3):
        length, before = images.shape[axis], side // 2
        place = torch.arange(-before, length + side - 1 - before, device=images.device) % (2 * length)
        images = images.index_select(axis, torch.minimum(place, 2 * length - 1 - place))
    around = images.unfold(2, side, 1).unfold(3, side, 1).flatten(-2)
    return around.kthvalue(side**2 // 2 + 1).values


def _jpeg(quality: int, images: Tensor) -> Tensor:
    if images.shape[1] not in (1, 3):
        raise ConfigError(f"squeeze with jpeg needs images of 1 or 3 channels, got {images.shape[1]}: leave jpeg out.")
    pixels = images.detach().nan_to_num().clamp(0, 1).mul(255).round().to("cpu", torch.uint8)
    again = [torch.from_numpy(_compressed(quality, image.permute(1, 2, 0).numpy())) for image in pixels]
    decoded = torch.stack(again).view(len(pixels), *pixels.shape[2:], pixels.shape[1]).permute(0, 3, 1, 2)
    return decoded.to(images).div(255) + 0 * images  # a gradient of zero, as that of rounding


def _compressed(quality: int, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Pixels ``[H,W,C]`` after compression; of one channel ``[H,W]``."""
    from PIL import Image  # slow to import

    file = BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(file, "jpeg", quality=quality)
    return np.array(Image.open(file))
