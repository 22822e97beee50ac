"""The area under the ROC curve of the canaries alone."""

from torch import Tensor

from tl_robust.metrics.pairs import area, area_kinds, areas, over_pairs
from tl_robust.types import Exposure


@over_pairs(kinds=area_kinds, formula=area, higher_is_better=False, when=lambda record: bool(record.canary.any()))
def canary_auc(record: Exposure) -> Tensor:
    """Area under the ROC curve of canaries: samples with a wrong label, which only a model that memorizes can know."""
    return areas(record.score[..., record.canary], record.member[:, record.canary])
