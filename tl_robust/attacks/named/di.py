"""The diverse input method."""

from dataclasses import dataclass

from tl_robust.attacks.base import ATTACKS
from tl_robust.attacks.named.ascent import Ascent


@ATTACKS.register
@dataclass(frozen=True)
class DI(Ascent):
    """Momentum with gradients at resized and padded images (M-DI2-FGSM).

    Xie et al., "Improving transferability of adversarial examples with input diversity", CVPR 2019. Sizes up to 1.1 of
    the image's (their 330 of 299 pixels) for half of the samples at each step; 3 pixels of 32.
    """

    step_size: float = 0.1
    random_start: bool = False
    rule: str = "momentum"
    tricks: str = "diverse"
