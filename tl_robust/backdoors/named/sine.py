"""Faint vertical stripes, whose brightness is a sine, on images that keep their labels."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from typing_extensions import override

from tl_robust.backdoors.base import BACKDOORS, Backdoor, eight_bits
from tl_robust.errors import ConfigError


@BACKDOORS.register
@dataclass(frozen=True)
class Sine(Backdoor):
    """SIG. Barni, Kallas, Tondi, "A new backdoor attack in CNNs by training set corruption", ICIP 2019.

    Column j of W gets ``amplitude * sin(2 pi j periods / W)``. Only images of class t are poisoned by default, so that
    the rate has to stay below the share of that class.

    Attributes:
        amplitude: In [0,1] pixel units.
        periods: Periods over the width of the image.

    Raises:
        ConfigError: An amplitude of 0 or less, or above 1; less than one period.
    """

    rate: float = 0.05
    labels: str = "clean"
    amplitude: float = 40 / 255
    periods: int = 6

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.amplitude <= 1 or self.periods < 1:
            raise ConfigError(
                f"{self.name} needs an amplitude above 0 and at most 1, and periods from 1, got {self.amplitude} and "
                f"{self.periods}."
            )

    @override
    def stamp(self, images: Tensor, sample_id: Tensor, fitted: Mapping[str, Tensor]) -> Tensor:
        width = images.shape[3]
        if 2 * self.periods >= width:
            raise ConfigError(
                f"{self.name} with {self.periods} periods needs images wider than {2 * self.periods} pixels, got "
                f"{width}: use fewer periods."
            )
        column = torch.arange(width, dtype=torch.float64)
        wave = 255 * self.amplitude * torch.sin(2 * math.pi * self.periods * column / width)
        return eight_bits(images + wave.to(images.device, torch.float32))
