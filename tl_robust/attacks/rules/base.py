"""What a step rule is.

Axes: N samples, C channels, H height, W width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor

from tl_robust.attacks.problem import Problem, Seen
from tl_robust.registry import Registry


class Walk(ABC):
    """One ascent under way, of all samples at one eps: the rule's memory.

    Args:
        problem: The batch at its start.
        eps: Size of the ball.
        length: Size of a step, in the unit of eps.
        steps: Number of steps.
    """

    def __init__(self, problem: Problem, eps: float, length: float, steps: int) -> None:
        self.eps, self.length, self.steps = eps, length, steps

    def look(self, images: Tensor) -> Tensor:
        """Where the gradient is taken when the walk stands at ``images``."""
        return images

    @abstractmethod
    def move(self, problem: Problem, images: Tensor, seen: Seen) -> Tensor:
        """The next images ``[N,C,H,W]``, within eps and [0,1].

        Args:
            problem: The batch; samples that are done have been taken out of it.
            images: Where the walk stands, ``[N,C,H,W]``.
            seen: Loss and gradient at :meth:`look`.
        """

    def take(self, index: Tensor) -> None:
        """Keep the memory of the samples at ``index`` alone: the others are done."""
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                setattr(self, name, value[index])

    def end(self, problem: Problem, images: Tensor) -> Tensor:
        """The images that the walk gives when it stands at ``images`` after the last step."""
        return images


@dataclass(frozen=True)
class Rule(ABC):
    """Base of all step rules; the fields of a subclass are its settings."""

    @abstractmethod
    def begin(self, problem: Problem, eps: float, length: float, steps: int) -> Walk:
        """A walk; see :class:`Walk` for the arguments."""


RULES: Registry[type[Rule]] = Registry("step rule", "tl_robust.attacks.rules")
