"""The Nesterov iterative method."""

from dataclasses import dataclass

from tl_robust.attacks.base import ATTACKS
from tl_robust.attacks.named.ascent import Ascent


@ATTACKS.register
@dataclass(frozen=True)
class NI(Ascent):
    """Momentum with the gradient taken ahead (NI-FGSM).

    Lin et al., "Nesterov accelerated gradient and scale invariance for adversarial attacks", ICLR 2020.
    """

    step_size: float = 0.1
    random_start: bool = False
    rule: str = "momentum(nesterov=True)"
