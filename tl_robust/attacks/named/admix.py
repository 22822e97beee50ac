"""The admix method."""

from dataclasses import dataclass

from tl_robust.attacks.base import ATTACKS
from tl_robust.attacks.named.ascent import Ascent


@ATTACKS.register
@dataclass(frozen=True)
class Admix(Ascent):
    """Momentum with other images mixed in, three of them in five darknesses; 15 gradients a step.

    Wang et al., "Admix: enhancing the transferability of adversarial attacks", ICCV 2021, algorithm 1. The images mixed
    in are drawn from the pool.
    """

    step_size: float = 0.1
    random_start: bool = False
    rule: str = "momentum"
    tricks: str = "admix + scale"
