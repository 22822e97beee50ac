"""The fast gradient sign method."""

from dataclasses import dataclass

import torch
from torch import Tensor

from tl_robust.attacks.base import ATTACKS, Attack, Gradient


@ATTACKS.register
@dataclass(frozen=True)
class FGSM(Attack):
    """One step of the full eps along the steepest direction: the sign of the gradient for ``linf``, the scaled gradient
    for ``l2`` (FGM). One gradient serves all eps.

    Goodfellow, Shlens, Szegedy, "Explaining and harnessing adversarial examples", ICLR 2015.
    """

    def perturb(self, gradient: Gradient, eps: list[float]) -> Tensor:
        """See :meth:`Attack.perturb`."""
        direction = gradient.norm.steepest(gradient(gradient.images))
        return torch.stack([gradient.images + size * direction for size in eps])
