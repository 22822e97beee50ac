"""The scale invariant Nesterov iterative method."""

from dataclasses import dataclass

from tl_robust.attacks.base import ATTACKS
from tl_robust.attacks.named.ascent import Ascent


@ATTACKS.register
@dataclass(frozen=True)
class SINI(Ascent):
    """Momentum with the gradients of 5 darker copies, taken ahead (SI-NI-FGSM).

    Lin et al., "Nesterov accelerated gradient and scale invariance for adversarial attacks", ICLR 2020, algorithm 1.
    """

    step_size: float = 0.1
    random_start: bool = False
    rule: str = "momentum(nesterov=True)"
    tricks: str = "scale"
