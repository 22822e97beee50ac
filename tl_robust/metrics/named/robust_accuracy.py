"""Accuracy under attack."""

from torch import Tensor

from tl_robust.metrics.base import rate
from tl_robust.types import Outcome


@rate(higher_is_better=True)
def robust_accuracy(outcome: Outcome) -> tuple[Tensor, Tensor]:
    """Share of all samples that B gets right before and after the attack.

    Source: as in RobustBench (Croce et al., 2021).
    """
    label = outcome.label
    right_N = outcome.clean_b == label
    return (outcome.adv_b == label) & right_N, right_N | True
