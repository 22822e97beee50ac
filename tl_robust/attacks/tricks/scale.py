"""Darker copies of the image."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from typing_extensions import override

from tl_robust.attacks.problem import Problem
from tl_robust.attacks.tricks.base import TRICKS, Query, Trick, over_copies


@TRICKS.register
@dataclass(frozen=True)
class Scale(Trick):
    """The mean gradient over the copies x, x/2, x/4, ... of the image, each with respect to x.

    Lin et al., "Nesterov accelerated gradient and scale invariance for adversarial attacks", ICLR 2020
    (SIM).

    Attributes:
        copies: Number of copies, at least 1; the paper takes 5.
    """

    DRAWS: ClassVar[bool] = False
    COPIES: ClassVar[bool] = True
    copies: int = 5

    def __post_init__(self) -> None:
        self.require(1 <= self.copies <= 64, "copies from 1 to 64")

    @override
    def wrap(self, query: Query, eps: float) -> Query:
        return over_copies(self.copies, self._darker, query)

    def _darker(self, problem: Problem, images: Tensor, number: int) -> Tensor:
        return images / 2 ** (number % self.copies)
