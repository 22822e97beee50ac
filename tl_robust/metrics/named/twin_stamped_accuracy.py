"""What the trigger hides."""

from torch import Tensor

from tl_robust.metrics.base import rate
from tl_robust.types import Stamped


@rate(of=Stamped, beside=("twin",))
def twin_stamped_accuracy(record: Stamped, twin: Stamped) -> tuple[Tensor, Tensor]:
    """Share of the images that are not of class t which the clean twin still gets right when they are stamped.

    What is missing to its accuracy on clean images is hidden by the trigger, backdoor or not.

    Source: ours.
    """
    return twin.stamped == record.label, record.others
