"""Gradients tuned by how they vary around the image."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from typing_extensions import override

from tl_robust.attacks.problem import Problem, Seen
from tl_robust.attacks.tricks.base import TRICKS, Query, Trick, neighbor, over_copies


@TRICKS.register
@dataclass(frozen=True)
class Variance(Trick):
    """To the gradient is added what the mean gradient of neighbors differed from it at the step before.

    Wang and He, "Enhancing the transferability of adversarial attacks through variance tuning", CVPR 2021, algorithm 1.
    The neighbors stand around the image whose gradient is taken: with a Nesterov rule around the one ahead, as in
    TransferAttack's VNI-FGSM; the authors' first code draws them around the image itself.

    The paper computes the term at the end of a step; here the next step does, the last one needs none.

    Attributes:
        copies: Number of neighbors, at least 1; the paper takes 20.
        radius: Size of the ball that they are drawn from, uniformly, as a share of eps, above 0; the paper takes 1.5.
    """

    COPIES: ClassVar[bool] = True
    MEMORY: ClassVar[bool] = True
    copies: int = 20
    radius: float = 1.5

    def __post_init__(self) -> None:
        self.require(self.copies >= 1 and 0 < self.radius < float("inf"), "copies of at least 1 and radius above 0")

    @override
    def wrap(self, query: Query, eps: float) -> Query:
        around = over_copies(self.copies, neighbor("variance", self.radius * eps), query)
        before: list[tuple[Tensor, int, Tensor]] = []

        def tuned(problem: Problem, images: Tensor, step: int) -> Seen:
            added: Tensor | float = 0.0
            if before:
                there, number, gradient = before.pop()
                added = around(problem, there, number).gradient - gradient
            seen = query(problem, images, step)
            before.append((images, step, seen.gradient))
            return Seen(seen.loss, seen.gradient + added)

        return tuned
