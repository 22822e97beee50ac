"""The momentum iterative method."""

from dataclasses import dataclass

from tl_robust.attacks.base import ATTACKS
from tl_robust.attacks.named.ascent import Ascent


@ATTACKS.register
@dataclass(frozen=True)
class MI(Ascent):
    """Steps of eps / 10 along a running sum of gradients (MI-FGSM).

    Dong et al., "Boosting adversarial attacks with momentum", CVPR 2018.
    """

    step_size: float = 0.1
    random_start: bool = False
    rule: str = "momentum"
