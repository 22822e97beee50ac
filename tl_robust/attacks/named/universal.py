"""One perturbation for all images.

Axes: N samples, M samples of the pool, C channels, H height, W width.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from tl_robust.attacks.base import ATTACKS, Attack
from tl_robust.attacks.problem import Problem
from tl_robust.attacks.tricks.base import pull_back
from tl_robust.errors import ConfigError
from tl_robust.seeding import derive, generator
from tl_robust.types.terms import ATLAS, NIST, Terms


@ATTACKS.register
@dataclass(frozen=True)
class Universal(Attack):
    """The same perturbation for every image, learned from a pool by ascent on the mean loss of mini batches.

    Moosavi-Dezfooli, Fawzi, Fawzi, Frossard, "Universal adversarial perturbations", CVPR 2017, found that one
    perturbation fools most images. They add up minimal perturbations of one image after the other; this is the simpler
    and faster ascent of Shafahi, Najibi, Xu, Dickerson, Davis, Goldstein, "Universal adversarial training", AAAI 2020,
    algorithm 2, with steepest steps of the norm. The start is a random draw from the ball, and the gradient is that at
    the clipped images.

    Attributes:
        epochs: Passes over the pool, at least 1.
        batch_size: Images of the pool a step, at least 1.
        step_size: Size of a step as a share of eps, above 0.
    """

    TERMS: ClassVar[Terms] = {NIST: "evasion, universal evasion attack", ATLAS: "AML.T0043"}
    ITERATES: ClassVar[bool] = False  # one perturbation for all is weak by design
    epochs: int = 10
    batch_size: int = 100
    step_size: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, good, expected in (
            ("epochs", self.epochs >= 1, "at least 1"),
            ("batch_size", self.batch_size >= 1, "at least 1"),
            ("step_size", 0 < self.step_size < float("inf"), "above 0 (a share of eps)"),
            ("objective", not self.goal.POOL, "one without a target for each image"),
        ):
            if not good:
                raise ConfigError(f"{name} of attack {self.title!r} must be {expected}, got {getattr(self, name)}.")

    @property
    def needs_pool(self) -> bool:
        """Always."""
        return True

    def fit(self, problem: Problem, eps: list[float]) -> dict[float, Tensor]:
        """The perturbation ``[C,H,W]`` of each eps; see :meth:`Attack.fit`."""
        if len(problem) == 0:
            raise ConfigError(f"attack {self.title!r} learns from a pool of images, got none: give at least one.")
        return {size: self._learn(problem, size) for size in eps}

    def _learn(self, problem: Problem, eps: float) -> Tensor:
        like = problem.clean[:1]
        first = torch.zeros(1, dtype=torch.int64, device=like.device)
        delta = eps * problem.norm.random(derive(problem.seed, "universal"), first, like)
        for epoch in range(self.epochs):
            order = torch.randperm(len(problem), generator=generator(problem.seed, "universal", epoch))
            for index in order.to(like.device).split(self.batch_size):
                delta = self._step(problem.take(index), delta, eps)
        return delta[0]

    def _step(self, batch: Problem, delta: Tensor, eps: float) -> Tensor:
        def moved(delta: Tensor) -> Tensor:
            return (batch.clean + delta).clamp(0, 1)

        gradient = pull_back(
            moved, batch.gradient, delta
        ).gradient  # summed over the mini batch, whose scale no step rule sees
        mean = moved(delta).mean(0, keepdim=True)  # an L1 step asks how far from 0 and 1 a value is: here, on average
        return batch.norm.project(delta + batch.norm.step(mean, gradient, self.step_size * eps), eps)

    def perturb(self, problem: Problem, eps: list[float]) -> Iterator[Tensor]:
        """See :meth:`Attack.perturb`.

        Raises:
            ConfigError: The perturbation of an eps was not learned, or for images of another shape.
        """
        learned = problem.fitted if isinstance(problem.fitted, dict) else {}
        for size in eps:
            delta = learned.get(size)
            if delta is None or delta.shape != problem.clean.shape[1:]:
                known = ", ".join(f"{one:g} {list(value.shape)}" for one, value in learned.items()) or "none"
                raise ConfigError(
                    f"attack {self.title!r} has no perturbation of eps {size:g} for images "
                    f"{list(problem.clean.shape[1:])}, but {known}: call fitted with the eps and images of this shape."
                )
            images = (problem.clean + delta.to(problem.clean)).clamp(0, 1)
            if size == eps[0]:
                problem.gradient(images)  # the notes then say whether the surrogate has gradients at all
            yield images
