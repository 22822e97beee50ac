"""Metrics of membership: means over pairs of models that learned complementary halves, with intervals over both.

Axes: K epochs, P pairs, M columns, N samples, S seeds, R bootstrap replicates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from typing_extensions import override

from tl_robust.metrics.estimate import Draws, Estimate, estimate
from tl_robust.metrics.metric import METRICS, Beside, Metric, Seed, first_paragraph
from tl_robust.types import Curve, Exposure, Record, View

Others = Mapping[str, Exposure]
Columns = Callable[..., Tensor]
LEAST = 1e-6  # distance from 0 and 1 within which an interval is not taken on the logit


@dataclass(frozen=True, kw_only=True)
class OverPairs(Metric):
    """A function of mean values of samples in each pair; the value is its mean over pairs.

    Pairs are independent draws of both halves from one pool and one public parent, so with one seed they are what seeds
    are to other metrics. With several seeds, which have parents of their own, a seed counts once.

    Attributes:
        columns: ``(record, records beside it) -> [P,M,N]``, float64.
        formula: ``(means [...,M], x [K]) -> [...,K]``.
        kinds: ``K -> [kinds, M]``, what the columns of one sample may be at the extremes.
    """

    columns: Columns
    formula: Callable[[Tensor, Tensor], Tensor]
    kinds: Callable[[int], Tensor]

    @override
    def __call__(self, record: Record, beside: Beside = None) -> Tensor:
        return self._of(record, beside).value.nanmean(0)

    @override
    def mean_curve(self, seeds: Sequence[Seed]) -> Curve:
        mean = estimate(self.draws(seeds))
        low, high = _on_logit(mean) if self.bounds == (0, 1) else mean.interval()
        least, most = self.bounds
        low, high = torch.minimum(low.clamp(min=least), mean.value), torch.maximum(high.clamp(max=most), mean.value)
        low, high = (end.masked_fill(mean.value.isnan(), torch.nan) for end in (low, high))
        x = seeds[0][0].x
        counted = sum(len(record.sample_id) for record, _ in seeds)  # each decided on in every model
        return Curve(x[:0] if self.summary else x, mean.value, low, high, torch.full_like(mean.value, counted).long())

    @override
    def draws(self, seeds: Sequence[Seed]) -> Draws:
        each = [self._of(*seed) for seed in seeds]
        if len(each) == 1:
            return each[0]
        value, again, unseen = (
            torch.stack([getattr(draws, name).nanmean(0) for draws in each]) for name in ("value", "again", "unseen")
        )
        return replace(each[0], value=value, again=again, unseen=unseen)

    def _of(self, record: Record, beside: Beside) -> Draws:
        """The draws of one record, with pairs in the place of seeds."""
        others = self.others(record, beside)
        return Draws.of(
            self.columns(record, *others.values()), lambda means: self.formula(means, record.x),
            self.kinds(len(record.x)),
        )  # fmt: skip


def over_pairs(
    *,
    kinds: Callable[[int], Tensor],
    formula: Callable[[Tensor, Tensor], Tensor],
    unit: str = "share",
    name: str = "",
    views: tuple[View, ...] = (),
    higher_is_better: bool | None = None,
    beside: tuple[str, ...] = (),
    when: Callable[[Exposure], bool] | None = None,
    signed: bool = False,
) -> Callable[[Columns], Metric]:
    """Register a function of means in each pair; a decorator of what gives the columns ``[P,M,N]``."""

    def register(function: Columns) -> Metric:
        metric = OverPairs(
            columns=function, formula=formula, kinds=kinds, doc=first_paragraph(function), unit=unit, of=Exposure,
            views=views, higher_is_better=higher_is_better, beside=beside, when=when, signed=signed,
        )  # fmt: skip
        return METRICS.register(metric, function.__module__, name)

    return register


def areas(score: Tensor, member: Tensor) -> Tensor:
    """Structural components of the area under the ROC curve in each pair, float64 ``[P,2K,N]``.

    Of both models of a pair together every sample is a member once and a non-member once. The first K columns are the
    share of non-members that a sample's score as a member is above (equal ones by half), the others the share of
    members that are above its score as a non-member; the mean of either is the area (DeLong and others, Biometrics
    1988). NaN where a score is NaN.

    Args:
        score: float64 ``[K,M,N]``.
        member: Bool ``[M,N]``.
    """
    inside, outside = by_role(score, member)
    won, lost = _share_below(inside, outside), 1 - _share_below(outside, inside)
    columns = torch.stack([won, lost], 1)
    bad = (inside.isnan() | outside.isnan()).any(-1).any(0)  # in any pair: a mean over the others would hide it
    return columns.masked_fill(bad[:, None], torch.nan).flatten(1, 2)


def by_role(values: Tensor, member: Tensor) -> tuple[Tensor, Tensor]:
    """Values ``[P,K,N]`` of every sample in the model of a pair that learned from it, and in the other one.

    Args:
        values: ``[K,M,N]``.
        member: Bool ``[M,N]``.
    """
    first = member[0::2]
    inside = torch.where(first, values[:, 0::2], values[:, 1::2])
    outside = torch.where(first, values[:, 1::2], values[:, 0::2])
    return inside.transpose(0, 1).contiguous(), outside.transpose(0, 1).contiguous()


def area(means: Tensor, x: Tensor) -> Tensor:
    """The area under the ROC curve from means of :func:`areas`: as drawn again, its linear part."""
    won, lost = means.chunk(2, dim=-1)
    return (won + lost) / 2


def area_kinds(k: int) -> Tensor:
    """What one sample's components may be at the extremes: it is told apart, or taken for its opposite."""
    return torch.tensor([[1.0] * 2 * k, [0.0] * 2 * k], dtype=torch.float64)


def _share_below(values: Tensor, of: Tensor) -> Tensor:
    """For each value the share of ``of`` that is below it, equal ones by half; along the last axis."""
    ordered = of.sort().values
    ends = [torch.searchsorted(ordered, values, side=side) for side in ("left", "right")]
    return (ends[0] + ends[1]).double() / (2 * of.shape[-1])


def _on_logit(mean: Estimate) -> tuple[Tensor, Tensor]:
    """Ends of the interval of a share, symmetric on the logit, so that they stay between 0 and 1.

    Near 0 and 1 the logit is so steep that the usual ends are nearer; then these count.
    """
    inner = mean.value.clamp(LEAST, 1 - LEAST)
    slope = inner * (1 - inner)
    moved = replace(mean, value=inner.logit(), error=mean.error / slope)
    (low, high), (least, most) = moved.interval(), mean.interval()
    return torch.maximum(low.sigmoid(), least), torch.minimum(high.sigmoid(), most)


def share(means: Tensor, x: Tensor) -> Tensor:
    """A share of samples, whose columns are ``[P,K,N]``."""
    return means


def share_kinds(k: int) -> Tensor:
    """What one sample's columns of :func:`share` may be at the extremes."""
    return torch.tensor([[1.0] * k, [0.0] * k], dtype=torch.float64)


def gap(means: Tensor, x: Tensor) -> Tensor:
    """One share less another of the same samples, whose columns are ``[P,2K,N]``."""
    first, second = means.chunk(2, dim=-1)
    return first - second


def gap_kinds(k: int) -> Tensor:
    """What one sample's columns of :func:`gap` may be at the extremes."""
    return torch.tensor([[1.0] * k + [0.0] * k, [0.0] * k + [1.0] * k], dtype=torch.float64)
