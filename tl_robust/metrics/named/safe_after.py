"""How long a user must train."""

from dataclasses import replace

import torch

from tl_robust.metrics.readings import reading
from tl_robust.metrics.stamped import at, safe_from
from tl_robust.types import Curve, Stamped


@reading(of=Stamped, sources=("lift",), unit="epochs", higher_is_better=False, beside=("twin",))
def safe_after(lift: Curve) -> Curve:
    """First of the epochs asked from which on the upper 95 % limit of lift stays below 0.05.

    Undefined (NaN) where the last is not below: within the epochs asked nothing shows that B is safe, be it that the
    backdoor is there or that the images are too few. Over several seeds the interval is that of their mean. It has no
    interval of its own.

    Source: ours.
    """
    unknown = torch.full_like(lift.eps, torch.nan)
    return at(replace(lift, value=lift.eps, low=unknown, high=unknown), safe_from(lift))
