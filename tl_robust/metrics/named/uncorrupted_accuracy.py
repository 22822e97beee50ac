"""Accuracy on the same images before they are corrupted."""

from torch import Tensor

from tl_robust.metrics.base import rate
from tl_robust.types import Corrupted


@rate(of=Corrupted, higher_is_better=True)
def uncorrupted_accuracy(record: Corrupted) -> tuple[Tensor, Tensor]:
    """Share of all test images that B gets right as they are, the same at every strength.

    Source: ours.
    """
    return (record.clean == record.label).expand_as(record.corrupted), record.label == record.label
