"""The accuracy curve in one number."""

import torch
from torch import Tensor

from tl_robust.metrics.base import Rates, statistic


@statistic(unit="share", higher_is_better=True, summary=True)
def curve_area(rates: Rates) -> Tensor:
    """Area under B's accuracy over eps (trapezoids), divided by the eps range: the mean accuracy over the range.

    Undefined (NaN) for a single eps.

    Source: ours.
    """
    span = rates.eps.max() - rates.eps.min()
    return (
        (torch.trapezoid(rates.adv_b, rates.eps, dim=-1) / span)[..., None] if span > 0 else rates.clean_b * torch.nan
    )
