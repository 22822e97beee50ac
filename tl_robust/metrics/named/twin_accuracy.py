"""Accuracy of the clean twin on clean images."""

from torch import Tensor

from tl_robust.metrics.base import rate
from tl_robust.types import Stamped


@rate(of=Stamped, beside=("twin",))
def twin_accuracy(record: Stamped, twin: Stamped) -> tuple[Tensor, Tensor]:
    """Share of all clean test images that the clean twin gets right.

    Source: ours.
    """
    return twin.clean == record.label, record.label == record.label
