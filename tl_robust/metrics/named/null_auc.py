"""A control: the area under the ROC curve where there is nothing to find."""

from torch import Tensor

from tl_robust.metrics.pairs import areas, has_tests, over_pairs, tested, told_apart
from tl_robust.types import Exposure


@over_pairs(room=told_apart, when=has_tests, count=tested)
def null_auc(record: Exposure) -> Tensor:
    """``auc`` on the test split, with made-up coins in the place of membership: a control that must be half.

    No model learned from the test split. An interval without 0.5 says that the inference or its shadows are biased; of
    100 such intervals 5 may miss it by chance.

    Source: ours.
    """
    return areas(record.null_score, record.null_member)
