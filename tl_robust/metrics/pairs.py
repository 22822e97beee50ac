"""Metrics of membership: means over pairs of models that learned complementary halves, with intervals over both.

Of both models of a pair together every sample is a member once and no member once. So what an inference, or a model,
makes of a pair is a mean over samples, and the metric is its mean over pairs. Pairs and samples are crossed, and the
error has a part of each (:func:`tl_robust.metrics.estimate.crossed`, with pairs in the place of seeds).

Axes: K epochs, P pairs, M models, N samples, S seeds, R bootstrap replicates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from tl_robust.metrics.estimate import Draws, Estimate, estimate, resamples, unseen_share
from tl_robust.metrics.metric import METRICS, Beside, Metric, Seed, first_paragraph
from tl_robust.types import Curve, Exposure, Record, View

Others = Mapping[str, Exposure]
Columns = Callable[..., Tensor]
Room = Callable[[Tensor], tuple[Tensor, Tensor]]
LEAST = 1e-6  # distance from 0 and 1 within which an interval is not taken on the logit


def learned(record: Exposure) -> int:
    """Samples that halves were drawn from."""
    return len(record.sample_id)


def tested(record: Exposure) -> int:
    """Samples of the test split."""
    return record.null_member.shape[1]


def canaries(record: Exposure) -> int:
    """Samples whose label was made wrong."""
    return int(record.canary.sum())


@dataclass(frozen=True, kw_only=True)
class OfCohort(Metric):
    """A metric of the record of membership.

    With one seed, pairs are independent draws of both halves from one pool and one public parent: they are what seeds
    are to other metrics. Of several seeds, which have parents of their own, each counts once.

    Attributes:
        count: How many samples of a record are decided on, each in every model.
    """

    count: Callable[[Any], int] = learned

    @override
    def __call__(self, record: Record, beside: Beside = None) -> Tensor:
        return self.of_pairs(record, beside).value.mean(0)

    @override
    def mean_curve(self, seeds: Sequence[Seed]) -> Curve:
        draws, x = self.draws(seeds), seeds[0][0].x
        value = draws.value.nanmean(0)
        low, high = self.ends(seeds, draws)
        least, most = self.bounds
        low, high = torch.minimum(low.clamp(min=least), value), torch.maximum(high.clamp(max=most), value)
        low, high = (end.masked_fill(value.isnan(), torch.nan) for end in (low, high))
        counted = sum(self.count(record) for record, _ in seeds)
        return Curve(x[:0] if self.summary else x, value, low, high, torch.full_like(value, counted).long())

    @override
    def draws(self, seeds: Sequence[Seed]) -> Draws:
        """Of one seed the values in each pair, of several those of each seed."""
        each = [self.of_pairs(*seed) for seed in seeds]
        judged = "test images" if self.count is tested else "samples"
        if len(each) == 1:
            return replace(each[0], units="pairs", judged=judged)
        value, again, unseen = (
            torch.stack([getattr(draws, name).mean(0) for draws in each]) for name in ("value", "again", "unseen")
        )
        return replace(each[0], value=value, again=again, unseen=unseen, judged=judged)

    def of_pairs(self, record: Record, beside: Beside) -> Draws:
        """The draws of one record, with pairs in the place of seeds; all NaN where the metric is undefined.

        Raises:
            ValueError: It reads other records, or lacks one beside.
        """
        raise NotImplementedError

    def ends(self, seeds: Sequence[Seed], draws: Draws) -> tuple[Tensor, Tensor]:
        """Ends of the 95 % interval, ``[K]`` each; what is beyond the bounds of the metric is cut off."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class OverPairs(OfCohort):
    """A mean over samples in each pair; the value is its mean over pairs.

    Attributes:
        columns: ``(record, records beside it) -> [P,K,N]``, float64; all NaN where undefined.
        room: How far one sample of a kind that none is of could lower and raise the mean of N, times N, from values.
    """

    columns: Columns
    room: Room

    @override
    def of_pairs(self, record: Record, beside: Beside) -> Draws:
        columns = self.columns(record, *self.others(record, beside).values())
        samples, value = columns.shape[-1], columns.mean(-1)
        again = (columns.float() @ resamples(samples).T).transpose(1, 2).double() / samples
        unseen = unseen_share(samples) * torch.stack(self.room(value), 1).nan_to_num(0).clamp(min=0)
        return Draws(value, again, unseen, samples)

    @override
    def ends(self, seeds: Sequence[Seed], draws: Draws) -> tuple[Tensor, Tensor]:
        """Student's interval; of a share on the logit, where what unseen samples could do is a limit of the ends.

        On the logit near 0 or 1 a floor of the error would reach to the other end.
        """
        if self.bounds != (0, 1):
            return estimate(draws).interval()
        low, high = _on_logit(estimate(draws, floors=False))
        value, (fall, rise) = draws.value.nanmean(0), draws.unseen.mean(0)
        return torch.minimum(low, value - fall), torch.maximum(high, value + rise)


def over_pairs(
    *,
    room: Room,
    unit: str = "share",
    name: str = "",
    views: tuple[View, ...] = (),
    higher_is_better: bool | None = None,
    beside: tuple[str, ...] = (),
    when: Callable[[Exposure], bool] | None = None,
    signed: bool = False,
    count: Callable[[Exposure], int] = learned,
) -> Callable[[Columns], Metric]:
    """Register a mean over samples in each pair; a decorator of what gives them, float64 ``[P,K,N]``.

    Args:
        room: How far one sample of a kind that none is of could lower and raise the mean of N, times N: a function of
            the values ``[P,K]``.
        unit: See :class:`Metric`, as all that is not named here.
        name: That of the file where there is none.
        views: Views it means something in.
        higher_is_better: For the victim's owner.
        beside: Records that the function takes after its own.
        when: Whether it means something of a record.
        signed: The share may fall below 0.
        count: How many samples are decided on.
    """

    def register(function: Columns) -> Metric:
        metric = OverPairs(
            columns=function, room=room, doc=first_paragraph(function), unit=unit, of=Exposure, views=views,
            higher_is_better=higher_is_better, beside=beside, when=when, signed=signed, count=count,
        )  # fmt: skip
        return METRICS.register(metric, function.__module__, name)

    return register


def by_role(values: Tensor, member: Tensor) -> tuple[Tensor, Tensor]:
    """What the model of a pair that learned a sample has of it, and what the one that did not has, ``[P,K,N]`` each.

    Args:
        values: Scores or hits, ``[K,M,N]``.
        member: Bool ``[M,N]``; models 2i and 2i + 1 have opposite halves.
    """
    first, one, other = member[0::2], values[:, 0::2], values[:, 1::2]
    inside, outside = torch.where(first, one, other), torch.where(first, other, one)
    return inside.transpose(0, 1).contiguous(), outside.transpose(0, 1).contiguous()


def areas(score: Tensor, member: Tensor) -> Tensor:
    """What each sample adds to the area under the ROC curve in each pair: float64 ``[P,K,N]`` with the area as mean.

    It is ``won + lost - area``: the share of non-members that a sample's score as a member is above (equal ones by
    half), the share of members that are above its score as a non-member, and the mean of either. So a mean over
    samples drawn again is the linear part of the area drawn again, whose variance is that of DeLong, DeLong and
    Clarke-Pearson (Biometrics 1988). All NaN at an epoch where a score is NaN.

    Args:
        score: float64 ``[K,M,N]``.
        member: Bool ``[M,N]``.
    """
    inside, outside = by_role(score, member)
    won, lost = _share_below(inside, outside), 1 - _share_below(outside, inside)
    columns = won + lost - won.mean(-1, keepdim=True)
    return columns.masked_fill(unknown(score)[:, None], torch.nan)


def told_apart(area: Tensor) -> tuple[Tensor, Tensor]:
    """How far a sample moves an area that is never told apart, and one that always is; both sides of it count."""
    return 2 * (area - 0.5), 2 * (1 - area)


def of_share(value: Tensor) -> tuple[Tensor, Tensor]:
    """How far a sample moves a share: from what it is down to 0 and up to 1."""
    return value, 1 - value


def of_gap(value: Tensor) -> tuple[Tensor, Tensor]:
    """How far a sample moves a difference of shares: down to -1 and up to 1."""
    return value + 1, 1 - value


def unknown(score: Tensor) -> Tensor:
    """Bool ``[K]``, whether a score ``[K,M,N]`` of the epoch is NaN: then nothing is said, since NaN has no order."""
    return score.isnan().flatten(1).any(1)


def has_tests(record: Exposure) -> bool:
    """Whether samples are there that no model learned from."""
    return tested(record) > 0


def has_canaries(record: Exposure) -> bool:
    """Whether some labels were made wrong."""
    return canaries(record) > 0


def _share_below(values: Tensor, of: Tensor) -> Tensor:
    """For each value the share of ``of`` that is below it, equal ones by half; along the last axis."""
    ordered = of.sort().values
    ends = [torch.searchsorted(ordered, values, side=side) for side in ("left", "right")]
    return (ends[0] + ends[1]).double() / (2 * of.shape[-1])


def _on_logit(mean: Estimate) -> tuple[Tensor, Tensor]:
    """Ends of the interval of a share, symmetric on the logit, so that they stay between 0 and 1."""
    inner = mean.value.clamp(LEAST, 1 - LEAST)
    slope = inner * (1 - inner)
    moved = replace(mean, value=inner.logit(), error=mean.error / slope)
    low, high = moved.interval()
    return low.sigmoid(), high.sigmoid()
