"""What safety costs."""

from tl_robust.metrics.readings import reading
from tl_robust.metrics.stamped import at, safe_from
from tl_robust.types import Curve, Stamped


@reading(of=Stamped, sources=("lift", "victim_accuracy"), unit="share", higher_is_better=True, beside=("twin",))
def accuracy_when_safe(lift: Curve, accuracy: Curve) -> Curve:
    """Accuracy of B on clean test images after the epochs that ``safe_after`` names; undefined (NaN) where it does.

    Source: ours.
    """
    return at(accuracy, safe_from(lift))
