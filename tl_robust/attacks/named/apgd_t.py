"""Auto-PGD towards one wrong class after the other."""

from dataclasses import dataclass

from tl_robust.attacks.base import ATTACKS
from tl_robust.attacks.named.apgd_ce import APGDCE


@ATTACKS.register
@dataclass(frozen=True)
class APGDT(APGDCE):
    """Auto-PGD up the targeted difference of logits ratio; each restart takes the next most probable wrong class.

    Croce and Hein, ICML 2020, algorithm 1 and equation 7, with the nine targets of AutoAttack. With fewer wrong classes
    than restarts they come again, from other random starts.
    """

    objective: str = "target(form=dlr)"
    restarts: int = 9
