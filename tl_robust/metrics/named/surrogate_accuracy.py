"""Accuracy of the surrogate under its own attack."""

from torch import Tensor

from tl_robust.metrics.base import rate
from tl_robust.types import Outcome


@rate(views=("black", "shadow"))
def surrogate_accuracy(outcome: Outcome) -> tuple[Tensor, Tensor]:
    """Share of all samples that A gets right before and after the attack crafted on it.

    Where A has other labels than B, right is what it predicts on the clean image.

    Source: ours.
    """
    label = outcome.label_a
    right_N = outcome.clean_a == label
    return (outcome.adv_a == label) & right_N, right_N | True
