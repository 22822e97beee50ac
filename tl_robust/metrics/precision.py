"""Before a run: how wide its 95 % intervals will be, and how small a difference it would find.

The model behind these figures: the accuracy at a seed is that of the strategy plus the seed's deviation, with standard
deviation ``seed_sd``. The hits of any two models on one image have the correlation ``correlation``, since some images
are hard for all. All models meet the same N images. With v = p (1 - p) / N and S seeds, the variances then are

    mean over seeds              v (1 + (S - 1) correlation) / S  +  seed_sd**2 / S
    difference of two such means      2 v (1 - correlation) / S  +  2 seed_sd**2 / S

(variance components of a crossed design: Searle, Casella, McCulloch, "Variance Components", 1992, chapter 5). After a
run, :func:`tl_robust.metrics.estimate.estimate` makes the intervals. It does not know the spread of seeds but measures
it on S values, as a multiple of chi square with S - 1 degrees of freedom. So widths here are means over what it may
measure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import brentq
from scipy.stats import chi2, norm
from scipy.stats import t as student

from tl_robust.errors import ConfigError
from tl_robust.metrics.estimate import TAIL, clopper_pearson, crossed, least_luck, unseen_share

POWER = 0.8  # how often an interval should exclude 0 for a difference to be called detectable


@dataclass(frozen=True)
class Assumed:
    """What must be assumed before there are results.

    Attributes:
        seed_sd: Standard deviation of an accuracy over seeds on an endless test set, as a share. In the bench
            ``embedded`` it is 0.00 to 0.07, 0.016 on average, and largest where a curve is steep.
        correlation: Correlation of the hits of two models on one image, in [0, 1). In ``embedded`` it is 0.63 on
            average between seeds of a strategy, and 0.54 between strategies.
    """

    seed_sd: float = 0.02
    correlation: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.seed_sd <= 0.5:
            raise ConfigError(f"--seed-sd must be a share from 0 to 0.5 (0.02 is 2 points), got {self.seed_sd:g}.")
        if not 0 <= self.correlation < 1:
            raise ConfigError(f"--correlation must be in [0, 1), got {self.correlation:g}.")


@dataclass(frozen=True)
class Width:
    """How sure a number will be.

    Attributes:
        error: Standard deviation of the number if the run were repeated with other images, and with other seeds where
            there are several.
        half: Half of the length of the 95 % interval, on average.
        detectable: The smallest true value for which 80 of 100 such intervals lie above 0.
    """

    error: float
    half: float
    detectable: float


@dataclass(frozen=True)
class Forecast:
    """What a bench will know about one accuracy.

    Attributes:
        images: Number of test images.
        seeds: Number of seeds.
        share: The accuracy, in [0, 1].
        cell: Half of the length of the exact interval of one cell, as a share.
        mean: How sure the mean over seeds will be; None with one seed, which says nothing about others.
        difference: How sure the difference of two strategies on the same images and seeds will be; with one seed, the
            difference of the two trainings.
    """

    images: int
    seeds: int
    share: float
    cell: float
    mean: Width | None
    difference: Width


def forecast(images: int, seeds: int, share: float, assumed: Assumed) -> Forecast:
    """How sure an accuracy and a difference of accuracies will be.

    Args:
        images: Number of test images, at least 2.
        seeds: Number of seeds, at least 1.
        share: The accuracy, in [0, 1].
        assumed: How much seeds differ, and how alike models are.
    """
    hits, n = (torch.tensor([value], dtype=torch.float64) for value in (round(share * images), images))
    low, high = clopper_pearson(hits, n)
    single = share * (1 - share) / images
    mean = single * (1 + (seeds - 1) * assumed.correlation) / seeds
    apart, unseen = 2 * single * (1 - assumed.correlation), unseen_share(images)
    return Forecast(
        images,
        seeds,
        share,
        cell=float(high - low) / 2,
        mean=_width(single, mean, assumed.seed_sd**2, images, seeds, unseen * max(share, 1 - share))
        if seeds > 1
        else None,
        difference=_width(apart, apart / seeds, 2 * assumed.seed_sd**2, images, seeds, unseen),
    )


def _width(single: float, shared: float, spread: float, images: int, seeds: int, reach: float) -> Width:
    """What :func:`tl_robust.metrics.estimate.estimate` will say on average, and how often it excludes 0.

    Args:
        single: Variance over samples of one seed's value.
        shared: Variance over samples of the mean over seeds.
        spread: Variance over seeds on an endless test set.
        images: N.
        seeds: S.
        reach: How far samples of a kind that none of the N is of could move the value.
    """
    luck, more = spread / seeds if seeds > 1 else 0.0, max(seeds - 1, 1)
    least = (reach / float(student.isf(TAIL, max(images - 1, 1)))) ** 2
    shared, single = max(shared, least), max(single, least)
    noise = max(single - shared, 0) / more
    likely = (np.arange(1000) + 0.5) / 1000
    between = (luck + noise) * chi2.ppf(likely, more) / more if seeds > 1 else np.zeros(1)
    ones = torch.ones(len(between), dtype=torch.float64)
    luck_floor = least_luck(torch.tensor(reach), images) ** 2
    error, freedom = crossed(
        shared * ones, single * ones, torch.from_numpy(between), luck_floor * ones, (seeds * ones).long(), images
    )
    half = error.sqrt().numpy() * student.isf(TAIL, freedom.numpy())
    true = math.sqrt(shared + luck)

    def missed(value: float) -> float:
        return float(norm.cdf((value - half) / true).mean()) - POWER

    return Width(true, float(half.mean()), float(brentq(missed, 0, 1000 * true)))
