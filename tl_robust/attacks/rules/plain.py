"""A step along the steepest direction."""

from dataclasses import dataclass

from torch import Tensor
from typing_extensions import override

from tl_robust.attacks.problem import Problem, Seen
from tl_robust.attacks.rules.base import RULES, Rule, Walk


class _Plain(Walk):
    def move(self, problem: Problem, images: Tensor, seen: Seen) -> Tensor:
        return problem.clip(problem.norm.step(images, seen.gradient, self.length).add_(images), self.eps)


@RULES.register
@dataclass(frozen=True)
class Plain(Rule):
    """A step along the steepest direction, then the projection on the eps ball and on [0,1]."""

    @override
    def begin(self, problem: Problem, eps: float, length: float, steps: int) -> Walk:
        return _Plain(problem, eps, length, steps)
