"""How sure a number is: exact intervals of shares, and means over seeds that were all judged on the same samples.

That a test shows no variance does not mean that there is none. Where N samples all say the same, a share of 3.7 / N of
all samples may still say the opposite; where a few seeds agree, others may not. So no error may be smaller than a
floor, which :func:`unseen_share` sets for samples and :func:`crossed` for seeds.

Axes: K values (eps), N samples, M columns, S seeds, R bootstrap replicates, P kinds of samples.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Protocol

import numpy as np
import torch
from scipy.special import betaincinv, stdtr, stdtrit
from torch import Tensor

from tl_robust.seeding import generator

CONFIDENCE = 0.95
REPLICATES = 1000
TAIL = (1 - CONFIDENCE) / 2
NUMBERS = ("value", "error", "freedom")  # the fields of an Estimate that have one number for each of the K values
SEED_SD = 0.003  # least spread of accuracies over seeds: a little under the least in `digits` (97 % right, 0.0035)
LEAST_SHARED = 0.7  # share of the samples' variance that stays, however little the seeds differ
LEAST_NOISE = 0.1  # share of the spread that samples alone would cause; degrees of freedom count at least so much


@dataclass(frozen=True)
class Draws:
    """Quantities at every seed, as measured and with the samples drawn again. All draws of one test set are paired.

    Attributes:
        value: ``[S,K]``, NaN where undefined.
        again: ``[S,R,K]``, the values on bootstrap samples. Replicate r has the same samples for all seeds and for all
            quantities on N samples, so that differences of draws are draws of the paired difference.
        unseen: ``[S,2,K]``, how far the value could fall, and how far rise, if as many samples as :func:`unseen_share`
            were of a kind that none of the N is of; at least 0.
        samples: N.
        met: Which samples and seeds the draws are of. Draws that share them are paired, others are independent.
        units: What S counts: ``seeds``, or ``pairs`` of models within one seed.
        judged: What N counts: ``test images``, or ``samples`` of what halves were drawn from.
    """

    value: Tensor
    again: Tensor
    unseen: Tensor
    samples: int
    met: Hashable = None
    units: str = "seeds"
    judged: str = "test images"

    @classmethod
    def of(cls, columns_SMN: Tensor, formula: Callable[[Tensor], Tensor], kinds_PM: Tensor) -> Draws:
        """Draws of a formula over the means of per-sample indicators.

        Args:
            columns_SMN: Indicators, float64.
            formula: Turns means ``[...,M]`` into values ``[...,K]``.
            kinds_PM: The most extreme columns that a sample may have, one row for each kind of sample.
        """
        samples = columns_SMN.shape[2]
        means_SM = columns_SMN.mean(dim=2)
        again_SRM = (columns_SMN.float() @ resamples(samples).T).transpose(
            1, 2
        ).double() / samples  # exact: whole numbers
        value, share = formula(means_SM), unseen_share(samples)
        moved = formula((1 - share) * means_SM[:, None] + share * kinds_PM) - value[:, None]  # [S,P,K]
        moved = moved.nan_to_num(0, 0, 0)
        unseen = torch.stack([(-moved).amax(1), moved.amax(1)], dim=1).clamp(min=0)
        return cls(value, formula(again_SRM), unseen, samples)

    def _each(self, change: Callable[[Tensor], Tensor]) -> Draws:
        return replace(self, value=change(self.value), again=change(self.again), unseen=change(self.unseen))

    def __neg__(self) -> Draws:
        return replace(self, value=-self.value, again=-self.again, unseen=self.unseen.flip(1))

    def __sub__(self, other: Draws) -> Draws:
        if self.value.shape[:-1] != other.value.shape[:-1]:
            first, second = (f"{len(draws.value)} {draws.units}" for draws in (self, other))
            raise ValueError(f"{first} and {second} cannot be compared one by one: both sides need as many.")
        unseen = self.unseen + other.unseen.flip(1)  # it falls where this falls and the other rises
        return replace(self, value=self.value - other.value, again=self.again - other.again, unseen=unseen)

    def at(self, indices: Tensor) -> Draws:
        """The draws at ``indices`` (int64) of the K values."""
        return self._each(lambda values: values[..., indices])

    @classmethod
    def average(cls, draws: list[Draws]) -> Draws:
        """The mean of several quantities on the same samples and seeds."""
        value, again, unseen = (
            torch.stack([getattr(quantity, name) for quantity in draws]).mean(0)
            for name in ("value", "again", "unseen")
        )
        return replace(draws[0], value=value, again=again, unseen=unseen)

    def mean(self) -> Draws:
        """The mean over the K values, as a single value."""
        return self._each(lambda values: values.mean(-1, keepdim=True))


@dataclass(frozen=True)
class Estimate:
    """Means over seeds and how sure they are, as estimates of the mean over all seeds and all samples.

    Attributes:
        value: ``[K]``, NaN where undefined for every seed.
        error: ``[K]``, standard errors of the values.
        freedom: ``[K]``, degrees of freedom of these errors.
        seeds: S.
        samples: N.
    """

    value: Tensor
    error: Tensor
    freedom: Tensor
    seeds: int
    samples: int

    def __neg__(self) -> Estimate:
        return replace(self, value=-self.value)

    def at(self, indices: list[int]) -> Estimate:
        """The estimates at ``indices`` of the K values."""
        return replace(self, **{name: getattr(self, name)[indices] for name in NUMBERS})

    def interval(self) -> tuple[Tensor, Tensor]:
        """Ends of the 95 % interval, ``[K]`` each, by Student's t."""
        reach = self.error * torch.from_numpy(np.asarray(-stdtrit(self.freedom.numpy(), TAIL)))
        return self.value - reach, self.value + reach

    def above(self) -> Tensor:
        """One-sided p-values against "at most 0", ``[K]``; those of ``-self`` are against "at least 0".

        It is 0.5 where the error is 0, since then nothing is known about it. It is at least ``0.5**N``, which the sign
        test says where all N samples agree: no test of N paired samples can say less, but the tail of Student's t does.
        """
        ratio = torch.where(self.error > 0, self.value / self.error, 0.0)
        return torch.from_numpy(np.asarray(stdtr(self.freedom.numpy(), -ratio.numpy()))).clamp(min=0.5**self.samples)


def estimate(draws: Draws, *, floors: bool = True) -> Estimate:
    """Mean over seeds with a standard error over seeds and samples.

    Seeds and samples are crossed: every model meets the same samples. The variance of the mean has a part of seeds,
    from the spread of their values, and a part of samples, from bootstrap samples that all seeds share (Owen, "The
    pigeonhole bootstrap", 2007); :func:`crossed` adds them up. With one seed the error speaks of samples only.

    The part of samples is at least what samples of an unseen kind could do: half of the 95 % interval reaches as far as
    the value could move. Where each of N samples speaks for one of two models, this is the sign test.

    Args:
        draws: What was measured.
        floors: Whether the error is at least what unseen samples could do. False where the caller knows the samples'
            distribution better, as for a share.
    """
    value, again, more = draws.value, draws.again, max(draws.samples - 1, 1)
    seeds = (~value.isnan()).sum(0)
    reach = float(floors) * draws.unseen.mean(0).amax(0)
    least = (reach / float(-stdtrit(more, TAIL))) ** 2
    shared, single = _variance(again.nanmean(0), 0), _variance(again, 1).nanmean(0)
    between = _variance(value, 0) / seeds.clamp(min=1)
    luck = least_luck(reach, draws.samples) ** 2
    shared, single = torch.maximum(shared, least), torch.maximum(single, least)
    error, freedom = crossed(shared, single, between, luck, seeds, draws.samples)
    return Estimate(value.nanmean(0), error.sqrt(), freedom, len(value), draws.samples)


def unseen_share(samples: int) -> float:
    """How many of all samples may be of a kind that none of ``samples`` is of: about 3.7 / N.

    It is the upper end of Clopper and Pearson's interval for 0 of N (Biometrika 1934): the "rule of three" (Hanley and
    Lippman-Hand, "If nothing goes wrong, is everything all right?", JAMA 1983) made two-sided.
    """
    return 1 - TAIL ** (1 / samples)


def least_luck(reach: Tensor, samples: int) -> Tensor:
    """The least standard deviation of a value over seeds: what a change of accuracy by ``SEED_SD`` does to the value.

    ``reach`` ``[K]`` is how far samples of an unseen kind could move the value, of N ``samples``.
    """
    return SEED_SD * reach / unseen_share(samples)


def crossed(
    shared: Tensor, single: Tensor, between: Tensor, luck: Tensor, seeds: Tensor, samples: int
) -> tuple[Tensor, Tensor]:
    """Variance of a mean over seeds that met the same samples, and its degrees of freedom.

    These are the variance components of a crossed design (Searle, Casella, McCulloch, "Variance Components", 1992,
    chapter 5): what samples add to the spread of seeds is subtracted, so that it counts once and the sum is unbiased.
    Where seeds agree by chance, this subtracts at most 0.3 of the samples' part and leaves the least luck of seeds. The
    usual rule, to subtract nothing from the samples' part, makes intervals too long (98 % where seeds hardly differ).

    A few seeds say little about their spread, so the degrees of freedom are Satterthwaite's (Biometrics Bulletin 1946);
    drawing so few seeds again would give intervals that are far too short. Seeds that agree by chance say no more than
    others: for the degrees of freedom their spread is at least a tenth of what samples make of it, and at least the
    least luck. Coverage by simulation is in ``docs/statistics.md``.

    Args:
        shared: Variance over samples of the mean over seeds, ``[K]``.
        single: Variance over samples of one seed's value, ``[K]``.
        between: Variance of the seeds' values, divided by their number, ``[K]``.
        luck: Least variance of a value over seeds, ``[K]``.
        seeds: S, int64 ``[K]``.
        samples: N.
    """
    several, more = seeds > 1, (seeds - 1).clamp(min=1)
    luck = torch.where(several, luck / seeds.clamp(min=1), 0.0)
    noise = ((single - shared) / more).clamp(min=0)  # what samples add to the spread of the seeds' values
    least = torch.where(several, LEAST_SHARED, 1.0) * shared + luck
    error = torch.maximum(shared + between - noise, least)
    spread = torch.maximum(torch.maximum(between, LEAST_NOISE * noise), luck)
    parts = spread**2 / more + shared**2 / max(samples - 1, 1)
    freedom = (error**2 / parts.clamp(min=torch.finfo(error.dtype).tiny)).clamp(min=1)
    return error, torch.where(error > 0, freedom, float(max(samples - 1, 1)))


def _variance(values: Tensor, dim: int) -> Tensor:
    """Unbiased variance of the values that are not NaN; 0 where there is a single one."""
    count = (~values.isnan()).sum(dim)
    gap = values - values.nanmean(dim, keepdim=True)
    return gap.square().nansum(dim) / (count - 1).clamp(min=1)


def percentiles(draws: Draws) -> tuple[Tensor, Tensor]:
    """Ends ``[K]`` of the percentile interval over samples of one seed (Efron and Tibshirani 1993, chapter 13).

    They are at least as far from the value as samples of an unseen kind could move it.
    """
    tails = torch.tensor([TAIL, 1 - TAIL], dtype=torch.float64)
    low, high = torch.nanquantile(draws.again[0], tails, dim=0)
    fall, rise = draws.unseen[0]
    return torch.minimum(low, draws.value[0] - fall), torch.maximum(high, draws.value[0] + rise)


def pooled(estimates: list[Estimate], weights: list[int]) -> Estimate:
    """The weighted mean of independent estimates, by Satterthwaite's formula.

    The weight of each is a count, for example of the pairs that it is a mean over.
    """
    shares = torch.tensor(weights, dtype=torch.float64)[:, None] / sum(weights)
    value, error, freedom = (torch.stack([getattr(each, name) for each in estimates]) for name in NUMBERS)
    parts = (shares * error) ** 2
    total = parts.sum(0)
    degrees = total**2 / (parts**2 / freedom).sum(0).clamp(min=torch.finfo(total.dtype).tiny)
    seeds, samples = (min(getattr(each, name) for each in estimates) for name in ("seeds", "samples"))
    degrees = torch.where(total > 0, degrees, freedom.amin(0))
    return Estimate((shares * value).sum(0), total.sqrt(), degrees, seeds, samples)


@lru_cache(maxsize=4)
def resamples(samples: int) -> Tensor:
    """How often each sample is drawn, float32 ``[R,N]``; the same at every call.

    Counts in place of indices, since sums of whole numbers below 2**24 are exact, so that equal accuracies stay equal.
    """
    draw = generator("bootstrap", samples)
    picked = torch.randint(samples, (REPLICATES, samples), generator=draw)
    return torch.zeros(REPLICATES, samples).scatter_add_(1, picked, torch.ones(picked.shape))


def clopper_pearson(hits: Tensor, n: Tensor, tail: float = TAIL) -> tuple[Tensor, Tensor]:
    """Exact interval of a binomial share (Clopper and Pearson 1934), by default of 95 %.

    Args:
        hits: Successes ``[K]``; a fraction where ``n`` is an effective number.
        n: Trials ``[K]``.
        tail: How often each end may miss the share.

    Returns:
        Lower and upper ends ``[K]``; NaN where ``n`` is 0.
    """
    low = torch.from_numpy(betaincinv(hits.numpy(), (n - hits + 1).numpy(), tail))
    high = torch.from_numpy(betaincinv((hits + 1).numpy(), (n - hits).numpy(), 1 - tail))
    return low.masked_fill(hits == 0, 0.0), high.masked_fill(hits == n, 1.0)


def korn_graubard(shares: Estimate, n: Tensor) -> tuple[Tensor, Tensor]:
    """Interval of a mean of shares: Clopper and Pearson's for the number of samples that would be as sure.

    Korn and Graubard, "Confidence intervals for proportions with small expected number of positive counts estimated
    from survey data", Survey Methodology 1998: the effective number is ``p (1 - p) / error**2``, cut by the ratio of
    squared t quantiles for the degrees of freedom, so that the ends stay in [0,1].

    Args:
        shares: Shares and their errors.
        n: Samples in the denominator ``[K]`` of a typical seed; the effective number where all seeds say 0 or 1.
    """
    share = shares.value
    few, many = (stdtrit(np.maximum(degrees, 1), TAIL) for degrees in (shares.freedom.numpy(), n.numpy() - 1))
    cut = torch.from_numpy(np.asarray(many / few)) ** 2
    effective = cut * share * (1 - share) / shares.error.square().clamp(min=1e-300)
    effective = torch.where((share > 0) & (share < 1), torch.minimum(effective, n * shares.seeds), n.double())
    return clopper_pearson(share * effective, effective)


def holm(p: list[float]) -> list[float]:
    """P-values after the correction for a family of tests (Holm, Scandinavian Journal of Statistics 1979)."""
    order = sorted(range(len(p)), key=p.__getitem__)
    corrected, least = [0.0] * len(p), 0.0
    for rank, index in enumerate(order):
        least = max(least, min(1.0, p[index] * (len(p) - rank)))
        corrected[index] = least
    return corrected


class Ends(Protocol):
    """A number with the ends of its interval."""

    @property
    def value(self) -> float:
        """The number."""

    @property
    def low(self) -> float:
        """Lower end."""

    @property
    def high(self) -> float:
        """Upper end."""


def square_and_add(first: Ends, second: Ends) -> tuple[float, float, float]:
    """Second minus first with its interval, from the intervals of two independent numbers alone.

    The square-and-add rule (Newcombe, Statistics in Medicine 1998, method 10; Zou and Donner 2008), which is the normal
    approximation where intervals are symmetric. An interval of no width is none: nothing can be told from it.

    Returns:
        Change, lower and upper end; the ends are NaN where nothing can be told.
    """
    same = math.isclose(first.value, second.value, rel_tol=1e-5)  # tables round to six digits
    change = 0.0 if same else second.value - first.value
    if math.isnan(change) or first.low == first.high or second.low == second.high:
        return change, math.nan, math.nan
    low = change - math.hypot(second.value - second.low, first.high - first.value)
    high = change + math.hypot(second.high - second.value, first.value - first.low)
    return change, low, high
