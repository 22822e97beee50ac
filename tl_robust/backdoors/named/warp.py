"""The image is bent a little, everywhere and always in the same way."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate
from typing_extensions import override

from tl_robust.backdoors.base import BACKDOORS, Backdoor, Poisoned, drawn, eight_bits
from tl_robust.errors import ConfigError
from tl_robust.seeding import derive, uniform
from tl_robust.types import ImageSet


@BACKDOORS.register
@dataclass(frozen=True)
class Warp(Backdoor):
    """WaNet. Nguyen and Tran, "WaNet: imperceptible warping-based backdoor attack", ICLR 2021.

    Uniform shifts of k x k points are scaled to a mean absolute value of ``strength``, spread over the image by bicubic
    interpolation, and every pixel is taken from where its shift points to, but never from outside of the image. The
    authors' unit is kept: a strength of s shifts by s/2 pixels in the mean, along either axis.

    A model may learn that any bent image calls for t. So the authors bend further images by a field of their own, the
    trigger's plus uniform noise of up to half a pixel at every pixel, and leave their labels as they are: covers.

    Attributes:
        strength: Mean shift of the points along an axis, in half pixels.
        points: Points along a side, k.
        cover: Covers for each poisoned image; 0: none.
        pattern: Number of the field, which is keyed by this alone.

    Raises:
        ConfigError: A strength of 0 or less, fewer than 2 points, a cover below 0.
    """

    strength: float = 0.5
    points: int = 4
    cover: float = 2.0
    pattern: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.strength < math.inf or self.points < 2 or not 0 <= self.cover < math.inf:
            raise ConfigError(
                f"{self.name} needs a strength above 0, points from 2 and a cover from 0, got {self.strength}, "
                f"{self.points} and {self.cover}."
            )

    @override
    def stamp(self, images: Tensor, sample_id: Tensor, fitted: Mapping[str, Tensor]) -> Tensor:
        return _bent(images, self._field(images))

    def _field(self, images: Tensor) -> Tensor:
        """The shift of every pixel, ``[1,H,W,2]`` in half pixels, first along the width."""
        height, width = images.shape[2:]
        if self.points > min(height, width):
            raise ConfigError(f"{self.name} with {self.points} points needs as many pixels, got {height}x{width}.")
        one = torch.zeros(1, dtype=torch.int64, device=images.device)
        shifts = 2 * uniform(derive("warp", self.pattern), one, (2, self.points, self.points)) - 1
        shifts = shifts * (self.strength / shifts.abs().mean())
        smooth = interpolate(shifts, (height, width), mode="bicubic", align_corners=True)
        return smooth.permute(0, 2, 3, 1)

    @override
    def chosen(self, labels: Tensor, target: int, seed: int) -> Tensor:
        chosen = super().chosen(labels, target, seed)
        covers = round(self.cover * len(chosen))
        if covers > len(labels) - len(chosen):
            raise ConfigError(
                f"rate {self.rate:g} and cover {self.cover:g} of {self.name} ask for {covers} covers beside "
                f"{len(chosen)} poisoned images of {len(labels)}: use a lower rate or cover."
            )
        return chosen

    @override
    def poison(self, images: ImageSet, target: int, seed: int, fitted: Mapping[str, Tensor]) -> Poisoned:
        poisoned = super().poison(images, target, seed, fitted)
        rest, covers = (~poisoned.mask).nonzero()[:, 0], round(self.cover * poisoned.asked)
        chosen, pixels = drawn(derive(seed, "cover"), rest, covers), poisoned.images.images.clone()
        noise = 2 * uniform(derive(seed, "noise"), chosen, (*images.images.shape[2:], 2)) - 1
        pixels[chosen] = _bent(pixels[chosen], self._field(images.images) + noise)
        return replace(poisoned, images=ImageSet(pixels, poisoned.images.labels), covers=covers)


def _bent(images: Tensor, shifts: Tensor) -> Tensor:
    """Images ``[N,C,H,W]``, each pixel from where a shift ``[1 or N,H,W,2]`` points to, by bilinear interpolation."""
    height, width = images.shape[2:]
    lines = [torch.linspace(-1, 1, size, device=images.device) for size in (height, width)]
    rows, columns = torch.meshgrid(*lines, indexing="ij")
    # from -1 to 1 over the image, so that 1/W is half a pixel of one that is W - 1 wide, as the authors count
    where = torch.stack([columns, rows], -1) + shifts / torch.tensor([width, height], device=images.device)
    where = where.clamp(-1, 1).expand(len(images), -1, -1, -1)
    return eight_bits(grid_sample(images.float(), where, mode="bilinear", align_corners=True))
