"""Attack success."""

from torch import Tensor

from tl_robust.metrics.base import rate
from tl_robust.types import Stamped


@rate(of=Stamped, higher_is_better=False)
def attack_success(record: Stamped) -> tuple[Tensor, Tensor]:
    """Share of the images that are not of the attacker's class which the trigger sends to that class."""
    return record.hit & record.others, record.others
