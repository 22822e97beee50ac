"""The floor of attack success."""

from torch import Tensor

from tl_robust.metrics.base import rate
from tl_robust.types import Stamped


@rate(of=Stamped, higher_is_better=False, beside=("twin",))
def false_trigger(record: Stamped, twin: Stamped) -> tuple[Tensor, Tensor]:
    """Share of the images that are not of class t which the clean twin gives class t when they are stamped.

    What the trigger does to a model without a backdoor: the floor of ``attack_success``. The twin is B with the same
    seed, recipe and images, and no poison.

    Source: ours.
    """
    return twin.hit, record.others
