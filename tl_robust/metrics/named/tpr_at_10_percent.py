"""Members found where 10 % of non-members are called."""

from torch import Tensor

from tl_robust.metrics.pooled import tpr_at
from tl_robust.types import Exposure


@tpr_at(0.1)
def tpr_at_10_percent(record: Exposure) -> tuple[Tensor, Tensor]:
    """Share of members that are called where 10 % of all non-members are called, the highest scores first.

    The threshold is one for all pairs; chance is 10 %.
    """
    return record.score, record.member
