"""Accuracy on corrupted images."""

from torch import Tensor

from tl_robust.metrics.base import rate
from tl_robust.types import Corrupted


@rate(of=Corrupted, higher_is_better=True)
def corrupted_accuracy(record: Corrupted) -> tuple[Tensor, Tensor]:
    """Share of all test images that B gets right when they are corrupted; a refused one is not right.

    One less it is the error of Hendrycks and Dietterich, "Benchmarking neural network robustness to common corruptions
    and perturbations", ICLR 2019, at each strength, before they divide by that of another network.
    """
    return record.corrupted == record.label, record.label == record.label
