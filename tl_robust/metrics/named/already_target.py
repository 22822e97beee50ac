"""Clean mistakes into the attacker's class."""

from torch import Tensor

from tl_robust.metrics.base import rate
from tl_robust.types import Stamped


@rate(of=Stamped, higher_is_better=False)
def already_target(record: Stamped) -> tuple[Tensor, Tensor]:
    """Share of the images that are not of class t which B gives class t without any trigger.

    Source: ours.
    """
    return record.clean == record.target, record.others
