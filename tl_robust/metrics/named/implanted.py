"""Whether there was a backdoor at all."""

from torch import Tensor

from tl_robust.metrics.base import difference
from tl_robust.metrics.stamped import carried
from tl_robust.types import Stamped


@difference(of=Stamped, beside=("twin",), summary=True, when=carried)
def implanted(record: Stamped, twin: Stamped) -> tuple[Tensor, Tensor, Tensor]:
    """Lift of the poisoned public model over its clean twin, on the test images of its own domain.

    Where it is low the poison was not learned, and nobody has removed anything: NIST's TrojAI had to withdraw models
    that were labelled poisoned and held no trigger. Only where a public model is poisoned.

    Source: ours.
    """
    target = record.carrier_target
    return record.origin_stamped == target, twin.origin_stamped == target, record.origin_label != target
