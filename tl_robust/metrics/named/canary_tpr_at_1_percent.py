"""Canaries found where 1 % of the canaries that were not learned are called."""

from torch import Tensor

from tl_robust.metrics.pooled import tpr_at
from tl_robust.types import Exposure


@tpr_at(0.01, canaries=True)
def canary_tpr_at_1_percent(record: Exposure) -> tuple[Tensor, Tensor]:
    """Share of learned canaries (samples with a wrong label) that are called where 1 % of the others are."""
    return record.score[..., record.canary], record.member[:, record.canary]
