"""The variance tuned momentum iterative method."""

from dataclasses import dataclass

from tl_robust.attacks.base import ATTACKS
from tl_robust.attacks.named.ascent import Ascent


@ATTACKS.register
@dataclass(frozen=True)
class VMI(Ascent):
    """Momentum with gradients tuned by 20 neighbors within 1.5 eps (VMI-FGSM); 20 gradients a step.

    Wang and He, "Enhancing the transferability of adversarial attacks through variance tuning", CVPR 2021, algorithm 1.
    """

    step_size: float = 0.1
    random_start: bool = False
    rule: str = "momentum"
    tricks: str = "variance"
