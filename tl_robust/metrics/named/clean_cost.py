"""What the backdoor costs B."""

from torch import Tensor

from tl_robust.metrics.base import difference
from tl_robust.types import Stamped


@difference(of=Stamped, higher_is_better=False, beside=("twin",))
def clean_cost(record: Stamped, twin: Stamped) -> tuple[Tensor, Tensor, Tensor]:
    """Accuracy of the clean twin minus that of B, sample by sample, over all clean test images.

    Near 0 nothing in a validation shows the backdoor; below 0 B is the better one.

    Source: ours.
    """
    label = record.label
    return twin.clean == label, record.clean == label, label == label
