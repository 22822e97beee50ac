"""The translation invariant method."""

from dataclasses import dataclass

from tl_robust.attacks.base import ATTACKS
from tl_robust.attacks.named.ascent import Ascent


@ATTACKS.register
@dataclass(frozen=True)
class TI(Ascent):
    """Momentum with smoothed gradients (TI-MI-FGSM).

    Dong et al., "Evading defenses to transferable adversarial examples by translation-invariant attacks", CVPR 2019.
    The kernel is 5 pixels wide, for images of about 32; their 15 is for 299.
    """

    step_size: float = 0.1
    random_start: bool = False
    rule: str = "momentum"
    tricks: str = "translation"
