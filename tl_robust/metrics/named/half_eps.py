"""How far an attacker must go to halve the accuracy."""

import torch
from torch import Tensor

from tl_robust.metrics.base import Rates, statistic


@statistic(unit="eps", higher_is_better=True, summary=True)
def half_eps(rates: Rates) -> Tensor:
    """Smallest eps at which at most half of B's clean accuracy is left, linear between grid points.

    The largest eps of the grid where the curve never falls that far: read it as "at least".

    Source: ours.
    """
    half = rates.clean_b / 2
    eps, accuracy = rates.eps, rates.adv_b
    fallen = accuracy <= half
    first = torch.where(fallen.any(-1), fallen.int().argmax(-1), len(eps) - 1)[..., None]
    before = (first - 1).clamp(min=0)
    high, low = accuracy.gather(-1, before), accuracy.gather(-1, first)
    share = torch.where(high > low, (high - half) / (high - low), 1.0).clamp(0, 1)
    return eps[before] + share * (eps[first] - eps[before])
