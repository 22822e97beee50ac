"""The basic iterative method."""

from dataclasses import dataclass

from tl_robust.attacks.base import ATTACKS
from tl_robust.attacks.named.ascent import Ascent


@ATTACKS.register
@dataclass(frozen=True)
class BIM(Ascent):
    """Steps of eps / 10 along the steepest direction from the clean image (I-FGSM).

    Kurakin, Goodfellow, Bengio, "Adversarial examples in the physical world", ICLR workshop 2017. They step by 1/255
    and take ``min(eps + 4, 1.25 eps)`` steps (eps in 255ths); papers on transfer take 10 steps of eps / 10, as here.
    """

    step_size: float = 0.1
    random_start: bool = False
