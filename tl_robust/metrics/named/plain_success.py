"""What an attacker reaches who does not know the defense."""

from torch import Tensor

from tl_robust.metrics.base import rate
from tl_robust.types import Stamped


@rate(of=Stamped, higher_is_better=False, beside=("plain",))
def plain_success(record: Stamped, plain: Stamped) -> tuple[Tensor, Tensor]:
    """Attack success of the plain attack alone, which does not know the defense.

    It stands beside ``attack_success``, which is of the attack that succeeds most, those that know the defense among
    them. Only defended cells have it.

    Source: ours.
    """
    return plain.hit, record.others
