"""What the attack costs."""

from torch import Tensor

from tl_robust.metrics.base import rate
from tl_robust.types import Outcome


@rate(higher_is_better=False)
def accuracy_drop(outcome: Outcome) -> tuple[Tensor, Tensor]:
    """Clean minus attacked accuracy of B: share of all samples that B gets right before and not after the attack.

    Unlike ``robust_accuracy`` it does not credit a model with its clean accuracy; unlike ``fooling_rate`` it counts
    over all samples, so that it is the difference of two accuracies.

    Source: ours.
    """
    right_N = outcome.clean_b == outcome.label
    return (outcome.adv_b != outcome.label) & right_N, right_N | True
