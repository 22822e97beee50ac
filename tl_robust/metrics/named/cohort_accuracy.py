"""How good the models are whose training data are inferred."""

from torch import Tensor

from tl_robust.metrics.pairs import has_tests, of_share, over_pairs, tested
from tl_robust.types import Exposure


@over_pairs(room=of_share, higher_is_better=True, when=has_tests, count=tested)
def cohort_accuracy(record: Exposure) -> Tensor:
    """Accuracy on the test split, on average over the models that each learned one half.

    Source: ours.
    """
    right = record.test_right.double()
    return ((right[:, 0::2] + right[:, 1::2]) / 2).transpose(0, 1)
