"""Before a run: how wide its 95 % intervals will be, and which difference it would find.

The model behind the figures: an accuracy of a seed is the strategy's accuracy plus the seed's deviation (standard
deviation ``seed_sd``); on one image the hits of any two models have the correlation ``correlation``, since some images
are hard for all. All models meet the same N images. Then, with v = p (1 - p) / N and S seeds, the variances are

    mean over seeds              v (1 + (S - 1) correlation) / S  +  seed_sd**2 / S
    difference of two such means      2 v (1 - correlation) / S  +  2 seed_sd**2 / S

(variance components of a crossed design: Searle, Casella, McCulloch, "Variance Components", 1992, chapter 5). After a
run, :func:`tl_robust.metrics.estimate.estimate` makes the intervals. It does not know the spread of seeds but measures
it on S values: a multiple of chi square with S - 1 degrees of freedom. So widths are means over what it may measure.
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

POWER = 0.8


@dataclass(frozen=True)
class Assumed:
    """What is taken for granted.

    Attributes:
        seed_sd: Standard deviation of an accuracy over seeds, had the test set no end; a share. In the bench
            ``embedded`` it is 0.00 to 0.07, 0.016 on average, largest where a curve is steep.
        correlation: Between the hits of two models on one image, in [0, 1). In ``embedded`` 0.63 on average between
            seeds of a strategy, 0.54 between strategies.
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
        error: Its standard deviation, were the run repeated with other images (and seeds, where there are several).
        half: Half of the 95 % interval, on average.
        detectable: The smallest true value that 80 of 100 such intervals lie above 0 for.
    """

    error: float
    half: float
    detectable: float


@dataclass(frozen=True)
class Forecast:
    """What a bench will know about one accuracy.

    Attributes:
        images: Test images.
        seeds: Seeds.
        share: The accuracy, in [0, 1].
        cell: Half of the exact interval of one cell, a share.
        mean: The mean over seeds; None with one seed, which says nothing of others.
        difference: Between two strategies, on the same images and seeds; with one seed between these two trainings.
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
        images: Test images, at least 2.
        seeds: Seeds, at least 1.
        share: The accuracy, in [0, 1].
        assumed: Spread of seeds, and how alike models are.
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
        spread: Variance over seeds, apart from samples.
        images: N.
        seeds: S.
        reach: How far samples of a kind that none of N shows could move the value.
    """
    luck, more = spread / seeds if seeds > 1 else 0.0, max(seeds - 1, 1)
    least = (reach / float(student.isf(TAIL, max(images - 1, 1)))) ** 2
    shared, single = max(shared, least), max(single, least)
    noise = max(single - shared, 0) / more
    likely = (np.arange(1000) + 0.5) / 1000
    between = (luck + noise) * chi2.ppf(likely, more) / more if seeds > 1 else np.zeros(1)
    one = torch.ones(len(between), dtype=torch.float64)
    of_seeds = least_luck(torch.tensor(reach), images) ** 2
    error, freedom = crossed(
        shared * one, single * one, torch.from_numpy(between), of_seeds * one, (seeds * one).long(), images
    )
    half = error.sqrt().numpy() * student.isf(TAIL, freedom.numpy())
    true = math.sqrt(shared + luck)

    def missed(value: float) -> float:
        return float(norm.cdf((value - half) / true).mean()) - POWER

    return Width(true, float(half.mean()), float(brentq(missed, 0, 1000 * true)))
