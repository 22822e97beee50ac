"""The area under the ROC curve of a membership inference."""

from torch import Tensor

from tl_robust.metrics.pairs import areas, over_pairs, told_apart
from tl_robust.types import Exposure


@over_pairs(room=told_apart, higher_is_better=False)
def auc(record: Exposure) -> Tensor:
    """Share of pairs of a member and a non-member in which the member's score is higher, ties by half.

    Half is chance. It is taken in each pair of models, where every sample is a member of one and not of the other.

    Source: the area of Hanley and McNeil (1982).
    """
    return areas(record.score, record.member)
