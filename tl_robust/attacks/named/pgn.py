"""Penalizing the gradient norm."""

from dataclasses import dataclass

from tl_robust.attacks.base import ATTACKS
from tl_robust.attacks.named.ascent import Ascent


@ATTACKS.register
@dataclass(frozen=True)
class PGN(Ascent):
    """Momentum towards flat maxima: the gradients of 20 neighbors within 3 eps, two each; 40 gradients a step.

    Ge et al., "Boosting adversarial transferability by achieving flat local maxima", NeurIPS 2023, algorithm 1.
    """

    step_size: float = 0.1
    random_start: bool = False
    rule: str = "momentum"
    tricks: str = "flat"
