"""Auto-PGD on the cross entropy."""

from dataclasses import dataclass

from tl_robust.attacks.base import ATTACKS
from tl_robust.attacks.named.ascent import Ascent


@ATTACKS.register
@dataclass(frozen=True)
class APGDCE(Ascent):
    """Steps whose size adapts to each sample, up the cross entropy; the first step is 2 eps.

    Croce and Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free attacks",
    ICML 2020, algorithm 1, with the settings of AutoAttack. Our random start is uniform in the ball, theirs on its
    surface.
    """

    steps: int = 100
    step_size: float = 2.0
    rule: str = "apgd"
