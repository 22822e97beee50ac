"""Imitation of the features of another image."""

from dataclasses import dataclass

from tl_robust.attacks.base import ATTACKS
from tl_robust.attacks.named.ascent import Ascent


@ATTACKS.register
@dataclass(frozen=True)
class Mimicry(Ascent):
    """Steps that bring the features of A's last hidden layer near those of a target image out of the pool.

    B's last layer, whatever its classes, sees what it sees at the target. Each restart draws another target.

    Wang, Yao, Viswanath, Zheng, Zhao, "With great training comes great vulnerability", USENIX Security 2018.
    """

    steps: int = 40
    step_size: float = 0.1
    objective: str = "mimicry"
