"""Auto-PGD on the difference of logits ratio."""

from dataclasses import dataclass

from tl_robust.attacks.base import ATTACKS
from tl_robust.attacks.named.apgd_ce import APGDCE


@ATTACKS.register
@dataclass(frozen=True)
class APGDDLR(APGDCE):
    """Auto-PGD up a loss that does not fade where the model is sure.

    Croce and Hein, ICML 2020, algorithm 1 and equation 6; see ``apgd_ce``.
    """

    objective: str = "dlr"
