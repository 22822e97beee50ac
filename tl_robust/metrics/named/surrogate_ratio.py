"""How much of what hurts the surrogate hurts the victim."""

import torch
from torch import Tensor

from tl_robust.metrics.base import Rates, statistic


@statistic(views=("black", "shadow"), higher_is_better=False)
def surrogate_ratio(rates: Rates) -> Tensor:
    """(acc_B - acc_B(A)) / (acc_A - acc_A(A)): harm done to B over harm done to A by the same examples.

    Undefined (NaN) where the attack does A no harm. Where A has other labels than B, harm is a changed prediction.

    Source: ours.
    """
    harm_a = rates.clean_a - rates.adv_a
    return torch.where(harm_a == 0, torch.nan, (rates.clean_b - rates.adv_b) / harm_a)
