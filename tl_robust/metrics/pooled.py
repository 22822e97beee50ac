"""True positive rates of membership inferences at a false positive rate, over the decisions of all pairs.

Axes: K epochs, P pairs, N samples, R bootstrap replicates, D decisions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from typing_extensions import override

from tl_robust.metrics.estimate import REPLICATES, TAIL, Draws, estimate, resamples
from tl_robust.metrics.metric import METRICS, Beside, Metric, Seed, first_paragraph
from tl_robust.metrics.pairs import by_role
from tl_robust.types import Curve, Exposure, Record


@dataclass(frozen=True, kw_only=True)
class PooledRate(Metric):
    """Share of members that are called, at a threshold that few non-members pass.

    The threshold is the least score that at most ``fpr`` of all non-members of all pairs are above; ties with it are
    not called (as of Carlini and others, IEEE S&P 2022). The interval draws pairs and samples again, and a decision
    weighs as often as both were drawn (the pigeonhole bootstrap: Owen, Annals of Applied Statistics 2007), since
    decisions on one sample, and those of one pair, are alike.

    Attributes:
        fpr: Share of non-members that may be called.
        scores: ``record -> (score [K,M,N], member [M,N])``.
    """

    fpr: float
    scores: Callable[[Exposure], tuple[Tensor, Tensor]]

    @override
    def __call__(self, record: Record, beside: Beside = None) -> Tensor:
        self.others(record, beside)
        inside, outside = self._roles(record)
        return torch.stack([_called(members.flatten(), others.flatten(), self.fpr)
                            for members, others in zip(inside.unbind(1), outside.unbind(1), strict=True)])  # fmt: skip

    @override
    def mean_curve(self, seeds: Sequence[Seed]) -> Curve:
        if len(seeds) > 1:
            mean = estimate(self.draws(seeds))
            value, (low, high) = mean.value, mean.interval()
        else:
            value = self(*seeds[0])
            inside, outside = self._roles(seeds[0][0])
            ends = [_interval(*each, self.fpr) for each in zip(inside.unbind(1), outside.unbind(1), strict=True)]
            low, high = (torch.stack(end) for end in zip(*ends, strict=True))
        low, high = torch.minimum(low.clamp(min=0), value), torch.maximum(high.clamp(max=1), value)
        low, high = (end.masked_fill(value.isnan(), torch.nan) for end in (low, high))
        counted = sum(self.scores(record)[1].shape[1] for record, _ in seeds if isinstance(record, Exposure))
        return Curve(seeds[0][0].x, value, low, high, torch.full_like(value, counted).long())

    @override
    def draws(self, seeds: Sequence[Seed]) -> Draws:
        """With one seed the rate in each pair, with a threshold of its own; with several that of each cohort."""
        if len(seeds) > 1:
            value = torch.stack([self(*seed) for seed in seeds])
        else:
            inside, outside = self._roles(seeds[0][0])  # [P,K,N]
            value = torch.stack([
                torch.stack([_called(*roles, self.fpr) for roles in zip(inside[pair], outside[pair], strict=True)])
                for pair in range(len(inside))
            ])  # fmt: skip
        samples, unseen = len(seeds[0][0].sample_id), torch.zeros(len(value), 2, value.shape[1], dtype=torch.float64)
        return Draws(value, value[:, None].expand(-1, REPLICATES, -1), unseen, samples)

    def _roles(self, record: Record) -> tuple[Tensor, Tensor]:
        assert isinstance(record, Exposure)
        return by_role(*self.scores(record))


def _called(members: Tensor, others: Tensor, fpr: float) -> Tensor:
    """Share of the members above the threshold; NaN where a score is."""
    if bool(members.isnan().any() or others.isnan().any()):
        return torch.tensor(torch.nan, dtype=torch.float64)
    ordered = others.sort(descending=True).values
    passed = int(fpr * len(ordered) + 1e-9)
    return (members > ordered[passed]).double().mean()


def _interval(members: Tensor, others: Tensor, fpr: float) -> tuple[Tensor, Tensor]:
    """Percentile ends of the pigeonhole bootstrap.

    Args:
        members: Scores of members ``[P,N]``.
        others: Scores of non-members ``[P,N]``.
        fpr: Share of non-members that may be called.
    """
    pairs, samples = members.shape
    if bool(members.isnan().any() or others.isnan().any()):
        nothing = torch.tensor(torch.nan, dtype=torch.float64)
        return nothing, nothing
    of_pairs, of_samples = resamples(pairs), resamples(samples)  # [R,P], [R,N]
    top, order = others.flatten().sort(descending=True)
    kept = min(len(top), int(2.5 * fpr * len(top)) + 20 * samples // 100 + 20)  # no replicate reaches further down
    weights = of_pairs[:, order[:kept] // samples] * of_samples[:, order[:kept] % samples]
    passed = weights.cumsum(1) <= fpr * pairs * samples
    count = passed.sum(1).clamp(max=kept - 1)  # place of the first score that is too many
    threshold = top[count]
    above, place = members.flatten().sort(descending=True)
    held = int((above > top[kept - 1]).sum())
    called = of_pairs[:, place[:held] // samples] * of_samples[:, place[:held] % samples]
    rate = (called * (above[:held] > threshold[:, None])).sum(1).double() / (pairs * samples)
    tails = torch.tensor([TAIL, 1 - TAIL], dtype=torch.float64)
    low, high = rate.quantile(tails)
    return low, high


def tpr_at(
    fpr: float, *, name: str = "", canaries: bool = False
) -> Callable[[Callable[[Exposure], tuple[Tensor, Tensor]]], Metric]:
    """Register a true positive rate at a false positive rate; a decorator of what gives scores and members."""

    def register(function: Callable[[Exposure], tuple[Tensor, Tensor]]) -> Metric:
        metric = PooledRate(
            fpr=fpr, scores=function, doc=first_paragraph(function), unit="share", of=Exposure, higher_is_better=False,
            when=(lambda record: bool(record.canary.any())) if canaries else None,
        )  # fmt: skip
        return METRICS.register(metric, function.__module__, name)

    return register
