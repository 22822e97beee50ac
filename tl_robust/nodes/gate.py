"""Whether a fast mode may be used: a part of the test set is attacked again in full precision and compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from tl_robust.types import Outcome

SAMPLES = 200
TOLERANCE = 0.01


@dataclass(frozen=True)
class Gate:
    """How far the outcomes of a fast mode were from those in full precision.

    Attributes:
        samples: Samples compared.
        accuracy: Largest difference of a victim's accuracy (or of the surrogate's) at any eps, a share.
        predictions: Largest share of predictions that differ at any eps.
        tolerance: What ``accuracy`` may be at most; ``predictions`` may be twice that.
        passed: Whether both are within it.
    """

    samples: int
    accuracy: float
    predictions: float
    tolerance: float
    passed: bool


def compare(fast: Mapping[str, Outcome], full: Mapping[str, Outcome], tolerance: float = TOLERANCE) -> Gate:
    """Compare outcomes of the same victims, the second on some of the first one's samples.

    Args:
        fast: Outcomes in the fast mode.
        full: The same in full precision on fewer samples.
        tolerance: Largest difference of accuracy that is allowed, a share.
    """
    accuracy = predictions = 0.0
    for name, right in full.items():
        whole = fast[name]
        order = whole.sample_id.argsort()
        same = whole.take(order[torch.searchsorted(whole.sample_id[order], right.sample_id)])
        for ours, theirs, label in (
            (same.adv_a, right.adv_a, right.label_a),
            (same.adv_b, right.adv_b, right.label),
            (same.clean_b[None], right.clean_b[None], right.label),
        ):
            gap = ((ours == label).double().mean(1) - (theirs == label).double().mean(1)).abs()
            accuracy = max(accuracy, float(gap.max()))
            predictions = max(predictions, float((ours != theirs).double().mean(1).max()))
    samples = min((len(outcome.label) for outcome in full.values()), default=0)
    passed = accuracy <= tolerance + 1e-9 and predictions <= 2 * tolerance + 1e-9
    return Gate(samples, accuracy, predictions, tolerance, passed)


def gate_places(labels: torch.Tensor, samples: int = SAMPLES) -> torch.Tensor:
    """Places of samples for the comparison, int64 ascending: evenly spaced in the order of classes."""
    order = labels.argsort(stable=True)
    count = len(labels)
    return order[torch.linspace(0, count - 1, min(samples, count)).round().long().unique()].sort().values
