"""How well a score tells two kinds of images apart: the area under the ROC curve.

Axes: K values of x, N samples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from tl_robust.metrics.base import OfMeans
from tl_robust.metrics.metric import METRICS, Metric, first_paragraph
from tl_robust.types import Record
from tl_robust.types.terms import NONE, Terms

Sides = tuple[Tensor, Tensor, Tensor, Tensor]


def auroc(
    *,
    of: type[Record],
    name: str = "",
    higher_is_better: bool | None = None,
    summary: bool = False,
    when: Callable[[Any], bool] | None = None,
    terms: Terms = NONE,
) -> Callable[[Callable[[Any], Sides]], Metric]:
    """Register the area under a ROC curve; a decorator.

    The function takes a record and returns ``(high [K,N], one [N], low [K,N], other [N])``: scores of each sample on
    the side that should have high ones, whether it is on that side (bool), and the same of the other side. A sample may
    be on both, as a stamped and as a clean image. With ``summary`` all are ``[N]``. The value is the share of pairs
    that are in the right order, half of those with equal scores (Mann and Whitney 1947); NaN where a side is empty.

    It is a mean over each side of a sample's share of pairs, so samples are drawn again with the shares that they have
    among all: the bootstrap of the structural components of DeLong, DeLong, Clarke-Pearson (Biometrics 1988).
    """

    def register(function: Callable[[Any], Sides]) -> Metric:
        def columns(record: Record, others: Mapping[str, Any]) -> Tensor:
            high, one, low, other = function(record)
            rows = [
                _components(*scores, one, other)
                for scores in zip(torch.atleast_2d(high), torch.atleast_2d(low), strict=True)
            ]
            return torch.stack(rows, dim=1).flatten(0, 1)

        def formula(means: Tensor, x: Tensor) -> Tensor:
            beaten, one, beating, other, value = means.chunk(5, dim=-1)
            return (beaten / one + beating / other - value).clamp(0, 1)

        def kinds(k: int) -> Tensor:
            rows = [[1, 1, 0, 0, 0.5], [0, 1, 0, 0, 0.5], [0, 0, 1, 1, 0.5], [0, 0, 0, 1, 0.5]]
            return torch.tensor(rows, dtype=torch.float64).repeat_interleave(1 if summary else k, dim=1)

        def base(record: Record, others: Mapping[str, Any]) -> Tensor:
            _, one, _, other = function(record)
            return one | other

        metric = OfMeans(
            columns=columns, formula=formula, kinds=kinds, base=base, doc=first_paragraph(function), unit="share",
            of=of, higher_is_better=higher_is_better, summary=summary, when=when,
            terms=terms,
        )  # fmt: skip
        return METRICS.register(metric, function.__module__, name)

    return register


def _components(high: Tensor, low: Tensor, one: Tensor, other: Tensor) -> Tensor:
    """float64 ``[5,N]``: pairs that a sample wins on the one side, that it is there, the same of the other, the area.

    Won pairs are a share of all that it is in, and 0 where it is not on that side.
    """
    above, below = high[one].double(), low[other].double()
    won, lost = torch.zeros(2, len(high), dtype=torch.float64)
    won[one] = share_below(above, below)
    lost[other] = 1 - share_below(below, above)
    value = won[one].mean() if len(above) and len(below) else torch.zeros((), dtype=torch.float64)
    return torch.stack([won, one.double(), lost, other.double(), value.expand(len(high))])


def share_below(values: Tensor, of: Tensor) -> Tensor:
    """For each value the share of ``of`` that is below it, equal ones by half; 0 where there are none."""
    ordered = of.sort().values
    ends = [torch.searchsorted(ordered, values, side=side) for side in ("left", "right")]
    return (ends[0] + ends[1]).double() / (2 * max(len(of), 1))
