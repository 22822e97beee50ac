"""The area under the ROC curve on samples whose label was made wrong."""

from torch import Tensor

from tl_robust.metrics.pairs import areas, canaries, has_canaries, over_pairs, told_apart
from tl_robust.types import Exposure


@over_pairs(room=told_apart, higher_is_better=False, when=has_canaries, count=canaries)
def canary_auc(record: Exposure) -> Tensor:
    """``auc`` of canaries alone, whose wrong label a model can only give if it has learned it by heart.

    Canaries as in Carlini and others, "The secret sharer", USENIX Security 2019.
    """
    return areas(record.score[..., record.canary], record.member[:, record.canary])
