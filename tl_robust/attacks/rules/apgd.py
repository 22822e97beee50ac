"""The adaptive step of Auto-PGD."""

from dataclasses import dataclass

import torch
from torch import Tensor
from typing_extensions import override

from tl_robust.attacks.norms import per_sample
from tl_robust.attacks.problem import Problem, Seen
from tl_robust.attacks.rules.base import RULES, Rule, Walk


class _APGD(Walk):
    """Memory: the image before, the best image with its loss and gradient, and each sample's step."""

    def __init__(self, problem: Problem, eps: float, length: float, steps: int, momentum: float, rho: float) -> None:
        super().__init__(problem, eps, length, steps)
        count, like = len(problem), problem.clean
        self.momentum, self.rho = momentum, rho
        self.step = torch.full((count,), length, dtype=like.dtype, device=like.device)
        self.before = self.best = self.best_gradient = like
        self.best_loss = torch.full((count,), -torch.inf, dtype=like.dtype, device=like.device)
        self.last_loss = self.best_loss
        self.rises = torch.zeros(count, dtype=torch.int64, device=like.device)
        self.halved = torch.ones(count, dtype=torch.bool, device=like.device)
        self.best_at_check = self.best_loss
        self.done = 0
        self.period = max(int(0.22 * steps), 1)
        self.next_check = self.period

    def move(self, problem: Problem, images: Tensor, seen: Seen) -> Tensor:
        gradient = seen.gradient
        if self.done == 0:
            self.before = images
            self.best, self.best_gradient = images, gradient
            self.best_loss = seen.loss.masked_fill(seen.loss.isnan(), -torch.inf)  # no later loss would be above NaN
            self.best_at_check = self.best_loss
        else:
            self.rises += (seen.loss > self.last_loss).to(torch.int64)
            better = seen.loss > self.best_loss
            wide = per_sample(better, images)
            self.best = torch.where(wide, images, self.best)
            self.best_gradient = torch.where(wide, gradient, self.best_gradient)
            self.best_loss = torch.where(better, seen.loss, self.best_loss)
        self.last_loss = seen.loss
        if self.done == self.next_check:
            images, gradient = self._check(images, gradient)
        keep = self.momentum if self.done else 1.0
        step = problem.norm.step(images, gradient, self.step)
        plain = problem.clip(images + step, self.eps)
        moved = problem.clip(images + (plain - images) * keep + (images - self.before) * (1 - keep), self.eps)
        self.before = images
        self.done += 1
        return moved

    def _check(self, images: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """Where the loss rose too seldom, or nothing moved since the last check, halve the step and go to the best."""
        few = self.rises <= self.rho * self.period
        stuck = ~self.halved & (self.best_at_check >= self.best_loss)
        self.halved = few | stuck
        self.best_at_check = self.best_loss
        self.rises = torch.zeros_like(self.rises)
        self.step = torch.where(self.halved, self.step / 2, self.step)
        self.period = max(self.period - max(int(0.03 * self.steps), 1), max(int(0.06 * self.steps), 1))
        self.next_check = self.done + self.period
        wide = per_sample(self.halved, images)
        return torch.where(wide, self.best, images), torch.where(wide, self.best_gradient, gradient)

    def end(self, problem: Problem, images: Tensor) -> Tensor:
        """The best of all, the last images included; in white-box the last ones, too, where they fool the model."""
        last = problem.loss(images) > self.best_loss
        if problem.early:
            last |= problem.margin(images) > 0
        return torch.where(per_sample(last, images), images, self.best)


@RULES.register
@dataclass(frozen=True)
class APGD(Rule):
    """Steps with momentum whose size is halved, from the best images so far, where the loss stops rising.

    The best images are kept. The first step is ``step_size`` times eps, 2 in the paper. Croce and Hein, "Reliable
    evaluation of adversarial robustness with an ensemble of diverse parameter-free attacks", ICML 2020, algorithm 1.

    Attributes:
        momentum: Weight of the new step beside the last.
        rho: Share of steps with a rising loss up to which the step is halved.
    """

    momentum: float = 0.75
    rho: float = 0.75

    @override
    def begin(self, problem: Problem, eps: float, length: float, steps: int) -> Walk:
        return _APGD(problem, eps, length, steps, self.momentum, self.rho)
