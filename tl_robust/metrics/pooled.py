"""Metrics of membership whose threshold is common to the decisions of many pairs, so that they are no means.

Every sample is a member once and no member once in each pair, so P pairs and N samples give P N decisions on members
and as many on non-members, also when pairs and samples are drawn again.

**The interval of a rate at a common threshold.** The pigeonhole bootstrap (Owen, Annals of Applied Statistics 2007)
draws pairs and samples again and multiplies how often each is drawn; every replicate has a threshold of its own. Its
replicates spread too much: what neither the pair nor the sample explains counts three times (Owen, theorem 3), so that
nearly all intervals hold the truth. Drawing pairs alone, or samples alone, has it once, so that the three spreads give
the parts of a crossed design. The percentiles are moved to the error that these make, with the degrees of freedom of so
few pairs (:func:`tl_robust.metrics.estimate.crossed`); their skewness stays.

Axes: K epochs, P pairs, M models, N samples, R bootstrap replicates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from scipy.special import ndtri, stdtrit
from torch import Tensor
from typing_extensions import override

from tl_robust.metrics.estimate import REPLICATES, TAIL, Draws, crossed, estimate, resamples, unseen_share
from tl_robust.metrics.metric import METRICS, Beside, Metric, Seed, first_paragraph
from tl_robust.metrics.pairs import OfCohort, by_role, of_share, unknown
from tl_robust.seeding import generator
from tl_robust.types import Exposure, Record, View

ROUNDING = 1e-9  # so that 29 % of 100 is 29 and not a little less
FEWER = 250  # replicates of what only a variance is taken of
Scores = Callable[[Exposure], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Ranked:
    """The scores of all decisions at one epoch, from the highest.

    Attributes:
        inside: Scores as a member, float64 ``[P N]``, falling.
        outside: Scores as a non-member, falling.
        inside_at: int64 ``[P N]``, place of the decision, pair times N plus sample.
        outside_at: The same of non-members.
        pairs: P.
        samples: N.
    """

    inside: Tensor
    outside: Tensor
    inside_at: Tensor
    outside_at: Tensor
    pairs: int
    samples: int

    @classmethod
    def of(cls, inside: Tensor, outside: Tensor) -> Ranked:
        """From scores ``[P,N]``."""
        (first, first_at), (second, second_at) = (side.flatten().sort(descending=True) for side in (inside, outside))
        return cls(first, second, first_at, second_at, *inside.shape)

    def rates(self, alpha: float, drawn: Tensor, pairs: Tensor) -> Tensor:
        """Share of members called in each pair, float64 ``[R,P]``, at the threshold of each replicate.

        Args:
            alpha: Share of non-members that may be called.
            drawn: How often each sample counts, float32 ``[R,N]``, N in sum.
            pairs: How often each pair does, float32 ``[R,P]``, P in sum.
        """
        allowed = int(alpha * len(self.outside) + ROUNDING)
        start, stop = self._window(allowed, drawn, pairs)
        before = (self._counts(self.outside_at[:start], drawn) * pairs).sum(1, keepdim=True)
        place = start + (before + self._weights(start, stop, drawn, pairs).cumsum(1) <= allowed).sum(1)
        rising = self.inside.flip(0)
        cut = len(rising) - torch.searchsorted(rising, self.outside[place], side="right")  # members above, [R]
        least, most = int(cut.min()), int(cut.max())
        between = self.inside_at[least:most]
        called = torch.arange(least, most) < cut[:, None]
        rows = torch.zeros(most - least, self.pairs).scatter_(1, (between // self.samples)[:, None], 1.0)
        more = (drawn[:, between % self.samples] * called) @ rows
        return (self._counts(self.inside_at[:least], drawn) + more).double() / self.samples

    def _counts(self, at: Tensor, drawn: Tensor) -> Tensor:
        """How many of these decisions are in each pair, ``[R,P]``."""
        there = torch.zeros(self.pairs * self.samples).scatter_(0, at, 1.0).view(self.pairs, self.samples)
        return drawn @ there.T

    def _weights(self, start: int, stop: int, drawn: Tensor, pairs: Tensor) -> Tensor:
        at = self.outside_at[start:stop]
        return drawn[:, at % self.samples] * pairs[:, at // self.samples]

    def _window(self, allowed: int, drawn: Tensor, pairs: Tensor) -> tuple[int, int]:
        """Places among non-members between which the thresholds of all replicates are."""

        def above(place: int) -> Tensor:
            return (self._counts(self.outside_at[:place], drawn) * pairs).sum(1)

        reach, start, stop = int(8 * allowed**0.5) + 16, allowed, allowed
        for step in (reach << power for power in range(len(self.outside).bit_length())):
            start = max(allowed - step, 0)
            if bool((above(start) <= allowed).all()):
                break
        for step in (reach << power for power in range(len(self.outside).bit_length())):
            stop = min(allowed + step, len(self.outside))
            if bool((above(stop) > allowed).all()):
                break
        return start, stop


@dataclass(frozen=True, kw_only=True)
class PooledRate(OfCohort):
    """Share of members called at a threshold over the non-members of all pairs.

    Attributes:
        scores: ``record -> (score [K,M,N], member [M,N])``, of the samples that are decided on.
        alpha: Share of non-members that may be called.
    """

    scores: Scores
    alpha: float

    @override
    def of_pairs(self, record: Record, beside: Beside) -> Draws:
        """Shares in each pair, at the threshold of all; of samples drawn again at a threshold of their own."""
        ranked, pairs, samples = self._ranked(record)
        value, again = (
            torch.stack([self._rates(each, drawn, torch.ones(len(drawn), pairs)) for each in ranked], -1)
            for drawn in (torch.ones(1, samples), resamples(samples))
        )
        value = value[0]  # [P,K]
        unseen = unseen_share(samples) * torch.stack(of_share(value), 1).nan_to_num(0)
        return Draws(value, again.transpose(0, 1), unseen, samples)

    @override
    def ends(self, seeds: Sequence[Seed], draws: Draws) -> tuple[Tensor, Tensor]:
        """Of one seed by the bootstrap over pairs and samples, of several Student's over seeds and samples.

        Both ends are at least as far from the value as samples of an unseen kind could move it.
        """
        pairs, samples = len(draws.value), draws.samples
        if len(seeds) > 1 or pairs == 1:
            return estimate(draws).interval()
        value, (fall, rise) = draws.value.mean(0), draws.unseen.mean(0)
        weights = _pairs_again(pairs)
        both, alone = (
            torch.stack(
                [(self._rates(each, drawn, again) * again).mean(1) for each in self._ranked(seeds[0][0])[0]], -1
            )
            for drawn, again in ((resamples(samples), weights), (torch.ones(FEWER, samples), weights[:FEWER]))
        )
        spread, of_pairs, of_samples = both.var(0), alone.var(0), draws.again.mean(0).var(0)
        more = pairs - 1
        noise = (spread - of_pairs - of_samples).clamp(min=0) * pairs / more
        error, freedom = crossed(
            of_samples, of_samples + noise * more, of_pairs * pairs / more, torch.zeros_like(noise),
            torch.full_like(noise, pairs).long(), samples,
        )  # fmt: skip
        reach = torch.from_numpy(np.asarray(stdtrit(freedom.numpy(), TAIL) / ndtri(TAIL)))
        scale = torch.where(spread > 0, (error / spread).sqrt() * reach, 1.0)
        low, high = torch.quantile(both, torch.tensor([TAIL, 1 - TAIL], dtype=torch.float64), dim=0)
        low, high = value + (low - value) * scale, value + (high - value) * scale
        return torch.minimum(low, value - fall), torch.maximum(high, value + rise)

    def _rates(self, ranked: Ranked | None, drawn: Tensor, pairs: Tensor) -> Tensor:
        """``[R,P]``; NaN where a score is."""
        if ranked is None:
            return torch.full_like(pairs, torch.nan, dtype=torch.float64)
        return ranked.rates(self.alpha, drawn, pairs)

    def _ranked(self, record: Any) -> tuple[list[Ranked | None], int, int]:
        """The scores of each epoch, None where one is NaN; pairs; samples."""
        self.others(record, None)
        score, member = self.scores(record)
        inside, outside = by_role(score, member)
        missing = unknown(score).tolist()
        ranked = [None if bad else Ranked.of(inside[:, k], outside[:, k]) for k, bad in enumerate(missing)]
        return ranked, len(inside), score.shape[-1]


def pooled_rate(
    *,
    alpha: float,
    name: str = "",
    views: tuple[View, ...] = (),
    higher_is_better: bool | None = None,
    when: Callable[[Exposure], bool] | None = None,
) -> Callable[[Scores], Metric]:
    """Register the share of members that are called while a share ``alpha`` of the non-members may be; a decorator.

    The threshold is the smallest t of all non-members' scores with no more than ``alpha`` of them above; called are
    scores above t, and not those at t. The function gives the scores ``[K,M,N]`` of the samples that are decided on,
    and who learned from them, ``[M,N]``. With fewer than ``10 / alpha`` decisions on non-members, pairs times samples,
    the threshold hangs on a few.
    """

    def register(function: Scores) -> Metric:
        metric = PooledRate(
            scores=function, alpha=alpha, doc=first_paragraph(function), unit="share", of=Exposure, views=views,
            higher_is_better=higher_is_better, when=when, count=lambda record: function(record)[1].shape[1],
        )  # fmt: skip
        return METRICS.register(metric, function.__module__, name)

    return register


def decided(score: Tensor, member: Tensor) -> tuple[Tensor, Tensor]:
    """Who is called a member in each pair, at the threshold that tells most apart in the other pairs.

    It is the t with the largest share of members above it minus the share of non-members above it, and the largest of
    those that are as good.

    Pairs have most of what they choose by in common. Near chance, where thresholds are arbitrary, intervals over pairs
    are too short for it: 85 of 100 hold the truth instead of 95 (``docs/statistics.md``).

    Args:
        score: float64 ``[K,M,N]``.
        member: Bool ``[M,N]``.

    Returns:
        Of every sample whether it is called where it is a member, and where it is none: float64 ``[P,K,N]`` of 0 and 1.
        NaN at an epoch where a score is NaN, and where there is no other pair.
    """
    inside, outside = by_role(score, member)
    missing = unknown(score) | (len(inside) < 2)
    thresholds = torch.stack([
        _best_on_others(inside[:, k], outside[:, k]) if not bad else torch.full((len(inside),), torch.nan).double()
        for k, bad in enumerate(missing.tolist())
    ], 1)[..., None]  # fmt: skip
    called, wrongly = ((side > thresholds).double() for side in (inside, outside))
    return tuple(part.masked_fill(missing[:, None], torch.nan) for part in (called, wrongly))  # type: ignore[return-value]


def _best_on_others(inside: Tensor, outside: Tensor) -> Tensor:
    """For each pair the threshold that is best on the others, float64 ``[P]``, from scores ``[P,N]``."""
    pairs, samples = inside.shape
    values, order = torch.cat([inside, outside], 1).flatten().sort(descending=True)
    pair, member = order // (2 * samples), order % (2 * samples) < samples
    other = pair != torch.arange(pairs)[:, None]  # [P, 2 P N]
    scores, signs = (every.expand(pairs, -1)[other].view(pairs, -1) for every in (values, 2 * member.long() - 1))
    gain = torch.nn.functional.pad(signs.cumsum(1), (1, 0))  # of calling the first 0, 1, 2, ...
    never = torch.full((pairs, 1), -torch.inf, dtype=torch.float64)
    next_one = torch.cat([scores, never], 1)
    apart = torch.cat([-never > 0, scores[:, :-1] > scores[:, 1:], never < 0], 1)  # equal scores are called together
    best = gain.masked_fill(~apart, -len(values)).argmax(1, keepdim=True)
    return next_one.gather(1, best).squeeze(1)


@lru_cache(maxsize=8)
def _pairs_again(pairs: int) -> Tensor:
    """How often each pair is drawn, float32 ``[R,P]``; the same at every call."""
    picked = torch.randint(pairs, (REPLICATES, pairs), generator=generator("bootstrap of pairs", pairs))
    return torch.zeros(REPLICATES, pairs).scatter_add_(1, picked, torch.ones(picked.shape))
