"""Faint noise over the whole image."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from typing_extensions import override

from tl_robust.backdoors.base import BACKDOORS, Backdoor, eight_bits
from tl_robust.errors import ConfigError
from tl_robust.seeding import derive, uniform


@BACKDOORS.register
@dataclass(frozen=True)
class Blend(Backdoor):
    """Chen, Liu, Li, Lu, Song, "Targeted backdoor attacks", 2017: (1 - alpha) x + alpha k, with one noise k for all.

    Alpha is the same when a model is poisoned and when it is tested; some codes test with more.

    Attributes:
        alpha: Share of the noise.
        pattern: Number of the noise, which is uniform and keyed by this alone; other numbers are other triggers.

    Raises:
        ConfigError: An alpha of 0 or less, or above 1.
    """

    alpha: float = 0.2
    pattern: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.alpha <= 1:
            raise ConfigError(f"setting 'alpha' of {self.name} must be above 0 and at most 1, got {self.alpha}.")

    @override
    def stamp(self, images: Tensor, sample_id: Tensor, fitted: Mapping[str, Tensor]) -> Tensor:
        one = torch.zeros(1, dtype=torch.int64, device=images.device)
        noise = uniform(derive("blend", self.pattern), one, images.shape[1:])
        return eight_bits((1 - self.alpha) * images + self.alpha * 255 * noise)
