"""Projected gradient descent."""

from dataclasses import dataclass

from tl_robust.attacks.base import ATTACKS
from tl_robust.attacks.named.ascent import Ascent


@ATTACKS.register
@dataclass(frozen=True)
class PGD(Ascent):
    """Steps along the steepest direction from a random start.

    Madry et al., "Towards deep learning models resistant to adversarial attacks", ICLR 2018. The last images are kept,
    as transfer needs.
    """
