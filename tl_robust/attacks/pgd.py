"""Projected gradient descent."""

from dataclasses import dataclass

import torch
from torch import Tensor

from tl_robust.attacks.base import ATTACKS, Attack, Gradient
from tl_robust.errors import ConfigError


@ATTACKS.register
@dataclass(frozen=True)
class PGD(Attack):
    """Steps along the steepest direction, each followed by a projection on the eps ball and on [0,1].

    Madry et al., "Towards deep learning models resistant to adversarial attacks", ICLR 2018. The last iterate is kept
    and every sample gets all steps at every eps, as transfer needs.

    Attributes:
        steps: Number of steps, at least 1.
        step_size: Size of a step as a share of eps, above 0.
        random_start: Start at a uniform draw from the ball instead of the clean image.
    """

    steps: int = 10
    step_size: float = 0.25
    random_start: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps < 1:
            raise ConfigError(f"steps of attack 'pgd' must be at least 1, got {self.steps}.")
        if self.objective == "feature" and not self.random_start:
            raise ConfigError(
                "attack 'pgd' with objective 'feature' needs random_start: the clean image has no gradient."
            )
        if not 0 < self.step_size < float("inf"):
            raise ConfigError(f"step_size of attack 'pgd' must be above 0 (a share of eps), got {self.step_size}.")

    def perturb(self, gradient: Gradient, eps: list[float]) -> Tensor:
        """See :meth:`Attack.perturb`."""
        clean, norm = gradient.images, gradient.norm
        start = gradient.random() if self.random_start else torch.zeros_like(clean)

        def ascend(size: float) -> Tensor:
            images = (clean + size * start).clamp(0, 1)
            for _ in range(self.steps):
                images = images + self.step_size * size * norm.steepest(gradient(images))
                images = (clean + norm.project(images - clean, size)).clamp(0, 1)
            return images

        return torch.stack([ascend(size) for size in eps])
