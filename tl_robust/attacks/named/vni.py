"""The variance tuned Nesterov iterative method."""

from dataclasses import dataclass

from tl_robust.attacks.base import ATTACKS
from tl_robust.attacks.named.ascent import Ascent


@ATTACKS.register
@dataclass(frozen=True)
class VNI(Ascent):
    """Momentum with tuned gradients, taken ahead (VNI-FGSM); 20 gradients a step.

    Wang and He, "Enhancing the transferability of adversarial attacks through variance tuning", CVPR 2021.
    """

    step_size: float = 0.1
    random_start: bool = False
    rule: str = "momentum(nesterov=True)"
    tricks: str = "variance"
