"""The control of membership inferences."""

from torch import Tensor

from tl_robust.metrics.pairs import area, area_kinds, areas, over_pairs
from tl_robust.types import Exposure


@over_pairs(kinds=area_kinds, formula=area)
def null_auc(record: Exposure) -> Tensor:
    """Area under the ROC curve over the test split with coins that are made up: 50 % unless something is wrong."""
    return areas(record.null_score, record.null_member)
