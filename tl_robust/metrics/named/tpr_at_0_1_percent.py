"""Members that are found while at most 0.1 % of all others are accused."""

from torch import Tensor

from tl_robust.metrics.pooled import pooled_rate
from tl_robust.types import Exposure


@pooled_rate(alpha=0.001, higher_is_better=False)
def tpr_at_0_1_percent(record: Exposure) -> tuple[Tensor, Tensor]:
    """Share of members that are called so at a threshold above which at most 0.1 % of the non-members are.

    One threshold for the decisions of all pairs; who is at it is not called. 0.1 % is chance. Carlini and others,
    "Membership inference attacks from first principles", S&P 2022.
    """
    return record.score, record.member
