"""What a gradient trick is: a function of gradients to gradients.

Axes: N samples, C channels, H height, W width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, TypeVar

import torch
from torch import Tensor

from tl_robust.attacks.problem import Problem, Seen
from tl_robust.errors import ConfigError
from tl_robust.registry import Registry
from tl_robust.seeding import derive

T = TypeVar("T")
Query = Callable[[Problem, Tensor, int], Seen]
"""Loss and gradient at images ``[N,C,H,W]``, at a step from 0 on, which with the sample keys every random draw."""


Transform = Callable[[Problem, Tensor, int], Tensor]
"""A differentiable function of images ``[N,C,H,W]``; the number of the evaluation keys its random draws."""


@dataclass(frozen=True)
class Trick(ABC):
    """Base of all gradient tricks; the fields of a subclass are its settings.

    Attributes:
        DRAWS: It draws random numbers, so that a restart differs.
        POOL: It needs other images than the batch: :attr:`Problem.fitted` then holds some, ``[M,C,H,W]``.
        COPIES: It asks for several gradients a step.
        MEMORY: It remembers the gradients of the step before, so it must be asked for one a step.
    """

    POOL: ClassVar[bool] = False
    DRAWS: ClassVar[bool] = True
    COPIES: ClassVar[bool] = False
    MEMORY: ClassVar[bool] = False

    @abstractmethod
    def wrap(self, query: Query, eps: float) -> Query:
        """A better query made of ``query``; called once an ascent, so that it may remember between steps.

        Where the gradient is not that at the very images, ``Seen.fooled`` must be None.
        """

    def require(self, good: bool, expected: str) -> None:
        """Check the settings.

        Raises:
            ConfigError: ``good`` is false; the message says what was expected and shows the trick as it is.
        """
        if not good:
            raise ConfigError(f"trick {type(self).__module__.rpartition('.')[2]!r} needs {expected}; got {self}.")


TRICKS: Registry[type[Trick]] = Registry("gradient trick", "tl_robust.attacks.tricks")


def parse_tricks(text: str) -> tuple[Trick, ...]:
    """Tricks from ``diverse + translation(width=7)``, in the order in which they meet the image.

    Raises:
        UnknownNameError: No such trick or setting.
        ConfigError: Not of that form, or a trick that remembers stands behind one that makes copies.
    """
    tricks: tuple[Trick, ...] = tuple(TRICKS.parse(trick) for trick in text.split("+")) if text.strip() else ()
    for place, trick in enumerate(tricks):
        if trick.MEMORY and any(before.COPIES for before in tricks[:place]):
            raise ConfigError(
                f"tricks {text!r}: {type(trick).__name__.lower()!r} remembers one gradient a step, but a trick before "
                "it asks for several; write it first."
            )
    return tricks


def pull_back(transform: Callable[[Tensor], Tensor], query: Callable[[Tensor], Seen], images: Tensor) -> Seen:
    """The gradient of ``loss(transform(images))`` with respect to the images, by the chain rule.

    Args:
        transform: A differentiable function of images.
        query: Loss and gradient at transformed images.
        images: ``[N,C,H,W]``.
    """
    images = images.detach().requires_grad_()
    with torch.enable_grad():
        changed = transform(images)
    seen = query(changed.detach())
    (gradient,) = torch.autograd.grad(changed, images, seen.gradient)
    return Seen(seen.loss, gradient)


def over_copies(count: int, transform: Transform, query: Query) -> Query:
    """A query for the mean of ``loss(transform(images))`` over ``count`` copies with their own draws.

    Copy c of step s is evaluation ``s * count + c``: with this number the transform and every trick inside draw.
    """

    def mean(problem: Problem, images: Tensor, step: int) -> Seen:
        loss, gradient = torch.zeros(len(images)).to(images), torch.zeros_like(images)
        for number in range(step * count, (step + 1) * count):
            seen = pull_back(partial(_at, transform, problem, number), partial(_at, query, problem, number), images)
            loss += seen.loss / count
            gradient += seen.gradient / count
        return Seen(loss, gradient)

    return mean


def _at(function: Callable[[Problem, Tensor, int], T], problem: Problem, number: int, images: Tensor) -> T:
    return function(problem, images, number)


def neighbor(name: str, size: float) -> Transform:
    """Images moved by a draw from the ball of ``size`` around them, in the attack's norm; ``name`` keys the draw."""

    def moved(problem: Problem, images: Tensor, number: int) -> Tensor:
        return images + size * problem.norm.random(derive(problem.seed, name, number), problem.sample_id, images)

    return moved


def pick(problem: Problem, count: int | Tensor, *draw: int | str) -> Tensor:
    """A whole number from 0 to ``count - 1`` for each sample, int64 ``[N]``; ``count`` is one number or ``[N]``."""
    place = problem.uniform((), *draw).double().mul(count).long()
    return torch.minimum(
        place, torch.as_tensor(count, device=place.device) - 1
    )  # a draw in half precision may be rounded up to 1
