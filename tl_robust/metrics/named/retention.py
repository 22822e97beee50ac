"""The shape of survival."""

from torch import Tensor

from tl_robust.metrics.base import statistic
from tl_robust.metrics.stamped import Lifts, carried, others


@statistic(of=Lifts, higher_is_better=False, beside=("twin",), when=carried, base=others)
def retention(lifts: Lifts) -> Tensor:
    """Lift of B over lift of the poisoned public model, with its own classifier, on the same stamped target images.

    1: all that the public model brought is there; it may rise, and above 1. Undefined (NaN) where the public model's
    own lift on target images is below 0.1. Only where a public model is poisoned.

    Source: ours.
    """
    return lifts.lift / lifts.carrier
