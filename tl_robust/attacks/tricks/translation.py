"""Gradients smoothed over neighboring pixels."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import conv2d
from typing_extensions import override

from tl_robust.attacks.problem import Problem, Seen
from tl_robust.attacks.tricks.base import TRICKS, Query, Trick


@TRICKS.register
@dataclass(frozen=True)
class Translation(Trick):
    """The gradient is convolved with a Gaussian kernel: about the mean gradient over shifted images.

    Dong et al., "Evading defenses to transferable adversarial examples by translation-invariant attacks", CVPR 2019.
    Zeros stand beyond the edge, and the kernel sums to 1.

    Attributes:
        width: Width of the kernel in pixels, odd. The paper's 15 is for images of 299 pixels; 5 is for 28 or 32.
        sigmas: The kernel ends after so many standard deviations.
    """

    DRAWS: ClassVar[bool] = False
    width: int = 5
    sigmas: float = 3.0

    def __post_init__(self) -> None:
        self.require(
            self.width >= 1 and self.width % 2 == 1 and 0 < self.sigmas < float("inf"),
            "an odd width of at least 1 and sigmas above 0",
        )

    @override
    def wrap(self, query: Query, eps: float) -> Query:
        place = torch.linspace(-self.sigmas, self.sigmas, self.width, dtype=torch.float64)
        line = torch.exp(-(place**2) / 2) if self.width > 1 else torch.ones(1, dtype=torch.float64)
        kernel = torch.outer(line, line) / line.sum() ** 2

        def smoothed(problem: Problem, images: Tensor, step: int) -> Seen:
            seen = query(problem, images, step)
            channels = images.shape[1]
            weight = kernel.to(seen.gradient).expand(channels, 1, -1, -1)
            gradient = conv2d(seen.gradient, weight, padding=self.width // 2, groups=channels)
            return Seen(seen.loss, gradient, seen.fooled)

        return smoothed
