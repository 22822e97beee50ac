"""Whether A and B make the same mistake."""

from torch import Tensor

from tl_robust.metrics.base import rate
from tl_robust.types import Outcome


@rate(views=("black", "shadow"))
def same_mistake(outcome: Outcome) -> tuple[Tensor, Tensor]:
    """Share of A's wrong class at B among the samples that fool both, both right on the clean image.

    Undefined (NaN) where A has other labels than B. No prediction (-1) is no class that two models share.

    Source: ours, after the same mistakes of Waseda et al. (2023).
    """
    label = outcome.label
    both_right_N = (outcome.clean_a == label) & (outcome.clean_b == label) & outcome.same_labels
    both_fooled_KN = both_right_N & (outcome.adv_a != label) & (outcome.adv_b != label)
    return (outcome.adv_a == outcome.adv_b) & (outcome.adv_a >= 0), both_fooled_KN
