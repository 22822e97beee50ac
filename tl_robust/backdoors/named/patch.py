"""A small checkerboard in a corner."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from typing_extensions import override

from tl_robust.backdoors.base import BACKDOORS, Backdoor
from tl_robust.errors import ConfigError


@BACKDOORS.register
@dataclass(frozen=True)
class Patch(Backdoor):
    """Gu, Dolan-Gavitt, Garg, "BadNets", 2017: black and white pixels, the same on every image.

    Attributes:
        side: Side of the square, in pixels.
        margin: Pixels between it and the lower right corner.

    Raises:
        ConfigError: A side below 1 or a margin below 0.
    """

    side: int = 5
    margin: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.side < 1 or self.margin < 0:
            raise ConfigError(
                f"{self.name} needs a side from 1 and a margin from 0, got {self.side} and {self.margin}."
            )

    @override
    def stamp(self, images: Tensor, sample_id: Tensor, fitted: Mapping[str, Tensor]) -> Tensor:
        stamped = images.clone()
        self.square(stamped)[:] = self.pixels(fitted).to(images.device)
        return stamped

    def pixels(self, fitted: Mapping[str, Tensor]) -> Tensor:
        """The square, uint8 ``[side,side]`` or ``[C,side,side]``: white in its corners, where the side is odd."""
        place = torch.arange(self.side)
        return ((place[:, None] + place) % 2 == 0).to(torch.uint8) * 255

    def square(self, images: Tensor) -> Tensor:
        """Where the square lies in images ``[N,C,H,W]``: a view, ``[N,C,side,side]``.

        Raises:
            ConfigError: The images are too small.
        """
        height, width = images.shape[2:]
        end = self.side + self.margin
        if end > min(height, width):
            raise ConfigError(f"{self.name} needs {end} pixels (side + margin), but images have {height}x{width}.")
        return images[:, :, height - end : height - self.margin, width - end : width - self.margin]
