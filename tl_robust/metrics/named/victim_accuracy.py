"""Accuracy of B on clean images."""

from torch import Tensor

from tl_robust.metrics.base import rate
from tl_robust.types import Stamped


@rate(of=Stamped, higher_is_better=True)
def victim_accuracy(record: Stamped) -> tuple[Tensor, Tensor]:
    """Share of all clean test images that B gets right; a refused one is not right.

    Source: ours.
    """
    return record.clean == record.label, record.label == record.label
