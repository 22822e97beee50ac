"""The usual transfer rate."""

from torch import Tensor

from tl_robust.metrics.base import rate
from tl_robust.types import Outcome


@rate(views=("black", "shadow"), higher_is_better=False)
def match_rate(outcome: Outcome) -> tuple[Tensor, Tensor]:
    """Share of B fooled among the samples that fool A, both right on the clean image.

    Where A has other labels than B, it is fooled when its prediction changes.

    Source: ours, after the transferability of Papernot, McDaniel and Goodfellow (2016).
    """
    both_right_N = (outcome.clean_a == outcome.label_a) & (outcome.clean_b == outcome.label)
    return outcome.adv_b != outcome.label, both_right_N & (outcome.adv_a != outcome.label_a)
