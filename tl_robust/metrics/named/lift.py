"""What the backdoor itself does."""

from torch import Tensor

from tl_robust.metrics.base import difference
from tl_robust.types import Stamped


@difference(of=Stamped, higher_is_better=False, beside=("twin",), alone=True)
def lift(record: Stamped, twin: Stamped) -> tuple[Tensor, Tensor, Tensor]:
    """Attack success of B minus that of its clean twin, sample by sample, over images that are not of class t.

    1: the trigger sends every image to class t, and none without the backdoor; 0: the backdoor adds nothing; below 0:
    the twin falls for the trigger more often. Undefined (NaN) without a twin.

    Source: ours.
    """
    return record.hit, twin.hit, record.others
