"""Canaries that are found while at most 1 % of all others are accused."""

from torch import Tensor

from tl_robust.metrics.pairs import has_canaries
from tl_robust.metrics.pooled import pooled_rate
from tl_robust.types import Exposure


@pooled_rate(alpha=0.01, higher_is_better=False, when=has_canaries)
def canary_tpr_at_1_percent(record: Exposure) -> tuple[Tensor, Tensor]:
    """``tpr_at_1_percent`` of canaries alone, samples whose label was made wrong: members and non-members are both.

    Source: ours, after the true positives at few false ones of Carlini et al. (2022).
    """
    return record.score[..., record.canary], record.member[:, record.canary]
