"""Right answers of a membership inference that must decide."""

from torch import Tensor

from tl_robust.metrics.pairs import of_share, over_pairs
from tl_robust.metrics.pooled import decided
from tl_robust.types import Exposure


@over_pairs(room=of_share, higher_is_better=False)
def balanced_accuracy(record: Exposure) -> Tensor:
    """Mean of the shares of members and non-members that are called so, at the threshold that is best on other pairs.

    Half is chance. A threshold from the labels that it is judged by would be optimistic.

    Source: as in Carlini et al. (2022), who say what it hides.
    """
    called, wrongly = decided(record.score, record.member)
    return (called + 1 - wrongly) / 2
