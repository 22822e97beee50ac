"""What a membership inference gains over guessing."""

from torch import Tensor

from tl_robust.metrics.pairs import of_gap, over_pairs
from tl_robust.metrics.pooled import decided
from tl_robust.types import Exposure


@over_pairs(room=of_gap, higher_is_better=False, signed=True)
def advantage(record: Exposure) -> Tensor:
    """Share of members that are called so minus share of non-members that are, at the threshold best on other pairs.

    Yeom and others, "Privacy risk in machine learning", CSF 2018. It is twice ``balanced_accuracy`` minus one.
    """
    called, wrongly = decided(record.score, record.member)
    return called - wrongly
