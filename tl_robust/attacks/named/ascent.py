"""The one loop of all gradient attacks: step rule, gradient tricks, objective, restarts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import ClassVar

import torch
from torch import Tensor
from typing_extensions import override

from tl_robust.attacks.base import ATTACKS, Attack
from tl_robust.attacks.cascade import cascade
from tl_robust.attacks.norms import per_sample
from tl_robust.attacks.problem import Problem, Seen
from tl_robust.attacks.rules.base import RULES, Rule, Walk
from tl_robust.attacks.tricks.base import Query, Trick, parse_tricks
from tl_robust.errors import ConfigError


@ATTACKS.register
@dataclass(frozen=True)
class Ascent(Attack):
    """Any combination of parts; the named attacks are such combinations with their papers' settings.

    Source: ours; every part names its paper.

    In transfer every sample gets all steps at every eps. Where the surrogate is the only victim (white-box), a sample
    is done at the first images that fool the model, they serve every larger eps, and those still standing go on from
    their images of the largest margin so far: fewer gradients, and never more samples right.

    Attributes:
        steps: Number of steps, at least 1.
        step_size: Size of a step as a share of eps, above 0.
        random_start: Start at a uniform draw from the ball instead of the clean image.
        restarts: Number of ascents; of each sample the one with the largest margin counts.
        rule: Step rule, such as ``momentum(decay=0.9)``.
        tricks: Gradient tricks in the order in which they meet the image, such as ``diverse + translation``.
    """

    VERSION: ClassVar[int] = 2  # restarts and eps go on from the images of the largest margin
    steps: int = 10
    step_size: float = 0.25
    random_start: bool = True
    restarts: int = 1
    rule: str = "plain"
    tricks: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, good, expected in (
            ("steps", self.steps >= 1, "at least 1"),
            ("step_size", 0 < self.step_size < float("inf"), "above 0 (a share of eps)"),
            ("restarts", self.restarts >= 1, "at least 1"),
            ("restarts", self.restarts == 1 or self.varies, "1 without random_start: all would be the same"),
            ("random_start", self.random_start or not self.goal.FLAT, "true: the clean image has no gradient"),
        ):
            if not good:
                raise ConfigError(f"{name} of attack {self.title!r} must be {expected}, got {getattr(self, name)}.")
        self.parts()

    @property
    def varies(self) -> bool:
        """Whether a restart differs from the first ascent."""
        drawn = any(trick.DRAWS for trick in self.parts()[1])
        return self.random_start or self.goal.VARIES or drawn

    @property
    def needs_pool(self) -> bool:
        """Whether a trick needs other images."""
        return self.goal.POOL or any(trick.POOL for trick in self.parts()[1])

    def parts(self) -> tuple[Rule, tuple[Trick, ...]]:
        """Step rule and gradient tricks."""
        return self._parts

    @cached_property
    def _parts(self) -> tuple[Rule, tuple[Trick, ...]]:
        return RULES.parse(self.rule), parse_tricks(self.tricks)

    def fit(self, problem: Problem, eps: list[float]) -> Tensor:
        """The pool itself, ``[M,C,H,W]``; see :meth:`Attack.fit`."""
        return problem.clean

    @override
    def perturb(self, problem: Problem, eps: list[float]) -> Iterator[Tensor]:
        if problem.early:
            yield from cascade(problem, eps, [partial(self._attempt, number) for number in range(self.restarts)])
        else:
            for size in eps:
                yield self._strongest(problem, size)

    def _strongest(self, problem: Problem, eps: float) -> Tensor:
        """The best of all restarts, every sample with all steps."""
        best = self._walk(problem, eps, self._start(problem, eps))
        if self.restarts == 1:
            return best
        margin = problem.margin(best)
        for number in range(1, self.restarts):
            restarted = problem.restarted(number)
            images = self._walk(restarted, eps, self._start(restarted, eps))
            other = problem.margin(images)
            best = torch.where(per_sample(other > margin, best), images, best)
            margin = torch.maximum(margin, other)
        return best

    def _attempt(self, number: int, problem: Problem, eps: float, before: Tensor) -> Tensor:
        """One restart on samples that still stand; the first goes on from their best images at smaller eps."""
        restarted = problem.restarted(number)
        start = self._start(restarted, eps)
        if not number:
            moved = (before != problem.clean).flatten(1).any(1)
            start = torch.where(per_sample(moved, before), before, start)
        return self._walk_until_fooled(restarted, eps, start)

    def _start(self, problem: Problem, eps: float) -> Tensor:
        if not self.random_start:
            return problem.clean
        return problem.random().mul_(eps).add_(problem.clean).clamp_(0, 1)  # in place: it is drawn anew at every call

    def _begin(self, problem: Problem, eps: float) -> tuple[Walk, Query]:
        rule, tricks = self.parts()
        query: Query = _gradient
        for trick in reversed(tricks):
            query = trick.wrap(query, eps)
        return rule.begin(problem, eps, self.step_size * eps, self.steps), query

    def _walk(self, problem: Problem, eps: float, images: Tensor) -> Tensor:
        """Images after all steps."""
        walk, query = self._begin(problem, eps)
        for step in range(self.steps):
            seen = query(problem, walk.look(images), step)
            problem.note(seen)
            images = walk.move(problem, images, seen)
        return walk.end(problem, images)

    def _walk_until_fooled(self, problem: Problem, eps: float, images: Tensor) -> Tensor:
        """The first images that fool the model, else those after all steps."""
        walk, query = self._begin(problem, eps)
        kept = images.clone()
        place = torch.arange(len(images), device=images.device)
        for step in range(self.steps):
            look = walk.look(images)
            seen = query(problem, look, step)
            problem.note(seen)
            if look is images and seen.fooled is not None and bool(seen.fooled.any()):
                kept[place] = images
                left = ~seen.fooled
                place, images, problem = place[left], images[left], problem.take(left)
                if not len(place):
                    return kept
                walk.take(left)
                seen = Seen(seen.loss[left], seen.gradient[left])
            images = walk.move(problem, images, seen)
        kept[place] = walk.end(problem, images)
        return kept


def _gradient(problem: Problem, images: Tensor, step: int) -> Seen:
    return problem.gradient(images, note=False)
