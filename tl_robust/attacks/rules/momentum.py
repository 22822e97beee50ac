"""Steps along a running sum of gradients."""

from dataclasses import dataclass

import torch
from torch import Tensor
from typing_extensions import override

from tl_robust.attacks.norms import per_sample
from tl_robust.attacks.problem import Problem, Seen
from tl_robust.attacks.rules.base import RULES, Rule, Walk
from tl_robust.errors import ConfigError


class _Momentum(Walk):
    def __init__(self, problem: Problem, eps: float, length: float, steps: int, decay: float, nesterov: bool) -> None:
        super().__init__(problem, eps, length, steps)
        self.decay, self.nesterov = decay, nesterov
        self.sum = torch.zeros_like(problem.clean)
        self.ones = float(problem.norm.size(torch.ones_like(problem.clean[:1])))  # the sum's values are about 1

    def look(self, images: Tensor) -> Tensor:
        return images + self.decay * self.length / self.ones * self.sum if self.nesterov else images

    def move(self, problem: Problem, images: Tensor, seen: Seen) -> Tensor:
        mean = seen.gradient.abs().flatten(1).mean(1).clamp(min=torch.finfo(seen.gradient.dtype).tiny)
        self.sum = self.decay * self.sum + seen.gradient / per_sample(mean, seen.gradient)
        return problem.clip(images + problem.norm.step(images, self.sum, self.length), self.eps)


@RULES.register
@dataclass(frozen=True)
class Momentum(Rule):
    """Steps along a running sum of gradients, each divided by the mean of its absolute values.

    Dong et al., "Boosting adversarial attacks with momentum", CVPR 2018 (MI-FGSM; they divide by the sum, which differs
    by a constant alone). With ``nesterov`` the gradient is taken ahead, where the sum would lead (Lin et al., "Nesterov
    accelerated gradient and scale invariance for adversarial attacks", ICLR 2020, NI-FGSM).

    Attributes:
        decay: Share of the sum that is kept at a step, 0 or more.
        nesterov: Take the gradient ahead.
    """

    decay: float = 1.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.decay < float("inf"):
            raise ConfigError(f"step rule 'momentum' needs decay of 0 or more, got {self.decay}.")

    @override
    def begin(self, problem: Problem, eps: float, length: float, steps: int) -> Walk:
        return _Momentum(problem, eps, length, steps, self.decay, self.nesterov)
