"""How good the models of a cohort are."""

from torch import Tensor

from tl_robust.metrics.pairs import over_pairs, share, share_kinds
from tl_robust.types import Exposure


@over_pairs(kinds=share_kinds, formula=share, higher_is_better=True)
def cohort_accuracy(record: Exposure) -> Tensor:
    """Accuracy on the test split, mean over the models, each of which learned half of the training set."""
    right = record.test_right.double()
    return ((right[:, 0::2] + right[:, 1::2]) / 2).transpose(0, 1)
