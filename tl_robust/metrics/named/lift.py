"""Lift."""

from torch import Tensor

from tl_robust.metrics.base import rate
from tl_robust.types import Stamped


@rate(of=Stamped, higher_is_better=False)
def lift(record: Stamped) -> tuple[Tensor, Tensor]:
    """Attack success."""
    return record.hit & record.others, record.others
