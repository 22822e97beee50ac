"""How long half of the backdoor lives."""

import torch
from torch import Tensor

from tl_robust.metrics.base import statistic
from tl_robust.metrics.stamped import ROUNDED, Lifts, carried, others


@statistic(of=Lifts, unit="epochs", higher_is_better=False, beside=("twin",), summary=True, when=carried, base=others)
def half_life(lifts: Lifts) -> Tensor:
    """Epochs from which on lift stays at or below half of the poisoned public model's on the same target images.

    Linear in log2(1 + epochs) between the epochs asked; the last of these where lift is higher then: read it as "at
    least", a mean over seeds too. Undefined (NaN) where the public model's lift is below 0.1.

    Source: ours.
    """
    half = lifts.carrier / 2
    above = lifts.lift > half + ROUNDED
    last = len(lifts.epochs) - 1
    step = torch.arange(1, last + 2) * above  # the last epoch with more than half has the largest
    before = step.amax(-1, keepdim=True) - 1
    first, then = before.clamp(min=0), (before + 1).clamp(max=last)
    high, low = (lifts.lift.gather(-1, place) for place in (first, then))
    share = torch.where(high > low, (high - half) / (high - low), 0.0).clamp(0, 1)
    place = (1 + lifts.epochs).log2()
    crossed = 2 ** (place[first] + share * (place[then] - place[first])) - 1
    value = torch.where(before < 0, lifts.epochs[0], torch.where(before == last, lifts.epochs[-1], crossed))
    return torch.where(half.isnan() | lifts.lift.isnan().any(-1, keepdim=True), torch.nan, value)
