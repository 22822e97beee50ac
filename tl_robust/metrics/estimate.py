"""How sure a number is: exact intervals of shares, and means over seeds that were all judged on the same samples.

Axes: K values (eps), N samples, M columns, S seeds, R bootstrap replicates.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from scipy.special import betaincinv
from torch import Tensor

from tl_robust.metrics import student
from tl_robust.seeding import generator

CONFIDENCE = 0.95
REPLICATES = 1000
TAIL = (1 - CONFIDENCE) / 2


@dataclass(frozen=True)
class Draws:
    """Quantities at every seed, as measured and with the samples drawn again; all draws of one test set are paired.

    Attributes:
        value: ``[S,K]``, NaN where undefined.
        again: ``[S,R,K]``, the same of bootstrap samples: replicate r has the same samples for all seeds and for all
            quantities on N samples, so differences of draws are draws of the paired difference.
        samples: N.
    """

    value: Tensor
    again: Tensor
    samples: int

    def __sub__(self, other: Draws) -> Draws:
        return replace(self, value=self.value - other.value, again=self.again - other.again)

    def at(self, places: Tensor) -> Draws:
        """Some of the K, at ``places`` (int64)."""
        return replace(self, value=self.value[:, places], again=self.again[:, :, places])

    @classmethod
    def average(cls, draws: list[Draws]) -> Draws:
        """The mean of several quantities on the same samples and seeds."""
        value, again = (torch.stack([getattr(one, name) for one in draws]).mean(0) for name in ("value", "again"))
        return cls(value, again, draws[0].samples)

    def mean(self) -> Draws:
        """The mean over the K, as one value."""
        return replace(self, value=self.value.mean(1, keepdim=True), again=self.again.mean(2, keepdim=True))


@dataclass(frozen=True)
class Estimate:
    """Means over seeds and how sure they are, as estimates of the mean over all seeds and all samples.

    Attributes:
        value: ``[K]``, NaN where undefined for every seed.
        error: ``[K]``, standard errors.
        freedom: ``[K]``, their degrees of freedom.
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

    def at(self, places: list[int]) -> Estimate:
        """Some of the K."""
        parts = {name: getattr(self, name)[places] for name in ("value", "error", "freedom")}
        return replace(self, **parts)

    def interval(self) -> tuple[Tensor, Tensor]:
        """Ends of the 95 % interval, ``[K]`` each, by Student's t."""
        reach = self.error * torch.from_numpy(np.asarray(student.isf(TAIL, self.freedom.numpy())))
        return self.value - reach, self.value + reach

    def above(self) -> Tensor:
        """One-sided p-values against "at most 0", ``[K]``; one minus them are those against "at least 0"."""
        ratio = self.value / self.error.clamp(min=1e-300)
        return torch.from_numpy(np.asarray(student.sf(ratio.numpy(), self.freedom.numpy())))


def estimate(draws: Draws) -> Estimate:
    """Mean over seeds with a standard error over seeds and samples.

    Seeds and samples are crossed: every model meets the same samples. The variance of the mean has a part of seeds,
    from the spread of their values, and a part of samples, from bootstrap samples that all seeds share (Owen, "The
    pigeonhole bootstrap", 2007). What samples add to the spread of seeds is counted once. Three seeds know little of
    their spread, so the degrees of freedom are Satterthwaite's (Biometrics Bulletin 1946): drawing so few seeds again
    would give intervals that are far too short. With one seed the error speaks of samples only.
    """
    value, again = draws.value, draws.again
    seeds = (~value.isnan()).sum(0)
    more = (seeds - 1).clamp(min=1)
    between = _variance(value, 0) / seeds.clamp(min=1)
    shared = _variance(again.nanmean(0), 0)
    single = _variance(again, 1).nanmean(0)
    noise = ((single - shared) / more).clamp(min=0)  # of samples, in the spread of the seeds' values
    error, floor = shared + (between - noise).clamp(min=0), torch.finfo(value.dtype).tiny
    freedom = error**2 / (between**2 / more + shared**2 / max(draws.samples - 1, 1)).clamp(min=floor)
    freedom = torch.where(error > 0, freedom, float(max(draws.samples - 1, 1))).clamp(min=1)
    return Estimate(value.nanmean(0), error.sqrt(), freedom, len(value), draws.samples)


def _variance(values: Tensor, dim: int) -> Tensor:
    """Unbiased, of what is defined; 0 of a single value."""
    count = (~values.isnan()).sum(dim)
    gap = values - values.nanmean(dim, keepdim=True)
    return gap.square().nansum(dim) / (count - 1).clamp(min=1)


def percentiles(draws: Draws) -> tuple[Tensor, Tensor]:
    """Ends ``[K]`` of the percentile interval over samples of one seed (Efron and Tibshirani 1993, chapter 13)."""
    tails = torch.tensor([TAIL, 1 - TAIL], dtype=torch.float64)
    low, high = torch.nanquantile(draws.again[0], tails, dim=0)
    return low, high


def pooled(estimates: list[Estimate]) -> Estimate:
    """The mean of independent estimates, each with the same weight, by Satterthwaite's formula."""
    count = len(estimates)
    parts = torch.stack([(one.error / count) ** 2 for one in estimates])
    freedom = torch.stack([one.freedom for one in estimates])
    total = parts.sum(0)
    degrees = total**2 / (parts**2 / freedom).sum(0).clamp(min=torch.finfo(total.dtype).tiny)
    value = torch.stack([one.value for one in estimates]).mean(0)
    seeds, samples = (min(getattr(one, name) for one in estimates) for name in ("seeds", "samples"))
    return Estimate(value, total.sqrt(), torch.where(total > 0, degrees, freedom.amin(0)), seeds, samples)


@lru_cache(maxsize=4)
def resamples(samples: int) -> Tensor:
    """How often each sample is drawn, float32 ``[R,N]``; the same at every call.

    Counts, since sums of whole numbers below 2**24 are exact: equal accuracies stay equal.
    """
    draw = generator("bootstrap", samples)
    picked = torch.randint(samples, (REPLICATES, samples), generator=draw)
    return torch.zeros(REPLICATES, samples).scatter_add_(1, picked, torch.ones(picked.shape))


def clopper_pearson(hits: Tensor, n: Tensor) -> tuple[Tensor, Tensor]:
    """Exact 95 % interval of a binomial share (Clopper and Pearson 1934).

    Args:
        hits: Successes ``[K]``; a fraction where ``n`` is an effective number.
        n: Trials ``[K]``.

    Returns:
        Lower and upper ends ``[K]``; NaN where ``n`` is 0.
    """
    low = torch.from_numpy(betaincinv(hits.numpy(), (n - hits + 1).numpy(), TAIL))
    high = torch.from_numpy(betaincinv((hits + 1).numpy(), (n - hits).numpy(), 1 - TAIL))
    return low.masked_fill(hits == 0, 0.0), high.masked_fill(hits == n, 1.0)


def korn_graubard(found: Estimate, n: Tensor) -> tuple[Tensor, Tensor]:
    """Interval of a mean of shares: Clopper and Pearson's for the number of samples that would be as sure.

    Korn and Graubard, "Confidence intervals for proportions with small expected number of positive counts estimated
    from survey data", Survey Methodology 1998: the effective number is ``p (1 - p) / error**2``, cut by the ratio of
    squared t quantiles for the degrees of freedom, so that the ends stay in [0,1].

    Args:
        found: Shares and their errors.
        n: Samples in the denominator ``[K]`` of a typical seed: the effective number where all seeds say 0 or 1.
    """
    share = found.value
    few, many = (student.isf(TAIL, np.maximum(degrees, 1)) for degrees in (found.freedom.numpy(), n.numpy() - 1))
    cut = torch.from_numpy(np.asarray(many / few)) ** 2
    effective = cut * share * (1 - share) / found.error.square().clamp(min=1e-300)
    effective = torch.where((share > 0) & (share < 1), torch.minimum(effective, n * found.seeds), n.double())
    return clopper_pearson(share * effective, effective)


def holm(p: list[float]) -> list[float]:
    """P-values after the correction for a family of tests (Holm, Scandinavian Journal of Statistics 1979)."""
    order = sorted(range(len(p)), key=p.__getitem__)
    found, least = [0.0] * len(p), 0.0
    for rank, place in enumerate(order):
        least = max(least, min(1.0, p[place] * (len(p) - rank)))
        found[place] = least
    return found
