"""The fast gradient sign method."""

from dataclasses import dataclass

import torch
from torch import Tensor

from tl_robust.attacks.base import ATTACKS, Attack, Gradient
from tl_robust.errors import ConfigError


@ATTACKS.register
@dataclass(frozen=True)
class FGSM(Attack):
    """One step of the full eps along the steepest direction; one gradient serves all eps.

    The direction is the sign of the gradient for ``linf`` and the gradient over its length for ``l2`` (FGM).

    Goodfellow, Shlens, Szegedy, "Explaining and harnessing adversarial examples", ICLR 2015.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.objective == "feature":
            raise ConfigError(
                "attack 'fgsm' takes its gradient at the clean image, where objective 'feature' has none: use pgd."
            )

    def perturb(self, gradient: Gradient, eps: list[float]) -> Tensor:
        """See :meth:`Attack.perturb`."""
        direction = gradient.norm.steepest(gradient(gradient.images))
        return torch.stack([gradient.images + size * direction for size in eps])
