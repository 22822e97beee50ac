"""Towards maxima with small gradients around them."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from typing_extensions import override

from tl_robust.attacks.norms import per_sample
from tl_robust.attacks.problem import Problem, Seen
from tl_robust.attacks.tricks.base import TRICKS, Query, Trick, neighbor, over_copies


@TRICKS.register
@dataclass(frozen=True)
class Flat(Trick):
    """The gradient of the loss minus a penalty on the length of its gradient, averaged over neighbors.

    At each neighbor x' the second derivative is a finite difference: ``(1 - balance) g(x') + balance g(x' - r)`` with r
    a step along g(x').

    Ge et al., "Boosting adversarial transferability by achieving flat local maxima", NeurIPS 2023, algorithm 1
    (PGN). Like their code, r is scaled so that the mean of its absolute values is ``reach`` times eps; in
    other norms than linf, so that a change of that mean in every pixel has that size.

    Attributes:
        copies: Number of neighbors, at least 1; the paper takes 20.
        radius: Size of the ball that they are drawn from, uniformly, as a share of eps, above 0; the paper takes 3.
        balance: Weight of the penalty, 0 to 1; the paper takes 0.5.
        reach: Length of r as a share of eps, above 0; the paper takes the step of the attack.
    """

    COPIES: ClassVar[bool] = True
    copies: int = 20
    radius: float = 3.0
    balance: float = 0.5
    reach: float = 0.1

    def __post_init__(self) -> None:
        self.require(
            self.copies >= 1 and min(self.radius, self.reach) > 0 and max(self.radius, self.reach) < float("inf")
            and 0 <= self.balance <= 1,
            "copies of at least 1, radius and reach above 0, and balance from 0 to 1",
        )  # fmt: skip

    @override
    def wrap(self, query: Query, eps: float) -> Query:

        def penalized(problem: Problem, images: Tensor, number: int) -> Seen:
            here = query(problem, images, number)
            size = problem.norm.size(torch.ones_like(images))
            mean = here.gradient.abs().flatten(1).mean(1).clamp(min=torch.finfo(images.dtype).tiny)
            back = here.gradient / per_sample(mean * size, images) * (self.reach * eps)
            there = query(problem, images - back, number)
            return Seen(here.loss, (1 - self.balance) * here.gradient + self.balance * there.gradient)

        return over_copies(self.copies, neighbor("flat", self.radius * eps), penalized)
