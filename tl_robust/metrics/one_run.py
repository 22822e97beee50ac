"""How much privacy one training has lost at least: a lower bound of epsilon from guesses about coins.

Steinke, Nasr, Jagielski, "Privacy auditing with one (1) training run", NeurIPS 2023. Of m samples a fair coin each says
whether the model learned from it. An attacker guesses r coins and leaves out the others; v guesses are right. A model
that is (epsilon, delta)-differentially private allows v right guesses with a chance of at most :func:`chance`, so an
epsilon for which that is below 5 % is refuted. How many coins are guessed is fixed before any score is seen: whoever
takes the best number afterwards has a bound that fails.

Axes: K epochs, M models, N samples, S seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from scipy.special import betainc
from torch import Tensor
from typing_extensions import override

from tl_robust.metrics.estimate import REPLICATES, Draws
from tl_robust.metrics.metric import METRICS, Beside, Metric, Seed, first_paragraph
from tl_robust.types import Curve, Exposure, Record
from tl_robust.types.terms import NONE, Terms

GUESSED = 0.05  # share of the coins that are guessed to be members, and as many to be none
GUESSED_CANARIES = 0.2  # the same of canaries: they are few, and a model that has one by heart shows it
ERROR = 0.05  # how often a bound may lie above the truth
STEPS = 60  # halvings of an interval that is at most some tens long: to the last digits


@dataclass(frozen=True)
class Audit:
    """Guesses about the coins of every model.

    Attributes:
        coins: m, how many samples coins were flipped for.
        guesses: r, how many coins of each model are guessed.
        guessed: Bool ``[K,M,N]``, the attacker guesses this coin; r of each model.
        correct: Bool ``[K,M,N]``, and the guess is right.
        known: Bool ``[K,M]``, every coin of the model has a score. Without one nothing is said of it.
        delta: Delta of differential privacy that is claimed; 0 without a claim.
    """

    coins: int
    guesses: int
    guessed: Tensor
    correct: Tensor
    known: Tensor
    delta: float

    @classmethod
    def of(cls, record: Exposure) -> Audit:
        """Guess 5 % of the coins to be members and 5 % to be none, by the highest and lowest scores.

        Where there are canaries, which a model can only know by memorizing, the coins are theirs, and 20 % are guessed
        on either side. Of equal scores the sample that comes first in the pool counts as the higher one, which says
        nothing about its coin.
        """
        places = coins(record)
        score, member = record.score[..., places], record.member[:, places]
        count, r = len(places), guesses(len(places), bool(record.canary.any()))
        each = r // 2
        known = ~score.isnan().any(-1)
        order = score.nan_to_num(0, torch.inf, -torch.inf).argsort(stable=True, dim=-1, descending=True)
        rank = torch.empty_like(order).scatter_(-1, order, torch.arange(count).expand_as(order).contiguous())
        high, low = rank < each, rank >= count - each
        correct = (high & member) | (low & ~member)
        guessed, right = (torch.zeros_like(record.score, dtype=torch.bool) for _ in range(2))
        guessed[..., places], right[..., places] = high | low, correct
        return cls(count, r, guessed, right, known, float(record.claim[1]))

    def bounds(self) -> Tensor:
        """Lower bounds of epsilon, each with 95 % confidence; float64 ``[K,M]``, NaN where scores are missing."""
        found = [lower_bound(self.coins, self.guesses, int(v), self.delta) for v in self.correct.sum(-1).flatten()]
        bounds = torch.tensor(found, dtype=torch.float64).view(self.known.shape)
        return bounds.masked_fill(~self.known, torch.nan)

    def chances(self, epsilon: float) -> Tensor:
        """P-values of a claim against every model's guesses, float64 ``[K,M]``; NaN where scores are missing."""
        found = [chance(self.coins, self.guesses, int(v), epsilon, self.delta) for v in self.correct.sum(-1).flatten()]
        p = torch.tensor(found, dtype=torch.float64).view(self.known.shape)
        return p.masked_fill(~self.known, torch.nan)


def coins(record: Exposure) -> Tensor:
    """Places in the pool of the samples whose coins are guessed: the canaries, or all where there are none; int64."""
    every = torch.ones_like(record.canary)
    return (record.canary if bool(record.canary.any()) else every).nonzero()[:, 0]


def guesses(count: int, canaries: bool = False) -> int:
    """How many of so many coins are guessed, an even number: as many members as non-members."""
    share = GUESSED_CANARIES if canaries else GUESSED
    return 2 * min(max(1, round(share * count)), count // 2)


def chance(count: int, r: int, v: int, epsilon: float, delta: float = 0.0) -> float:
    """The highest chance of at least ``v`` right of ``r`` guesses, if epsilon and delta hold.

    Theorem 5.2 of Steinke, Nasr, Jagielski (2023): ``f(v) + 2 m delta max_i (f(v - i) - f(v)) / i`` with ``f(v)`` the
    chance that ``r`` coins with probability ``1 / (1 + e^-epsilon)`` show at least ``v`` heads.

    Args:
        count: m, all coins, with those that are not guessed.
        r: Guesses.
        v: Right guesses.
        epsilon: At least 0.
        delta: In [0, 1].
    """
    if v <= 0:
        return 1.0
    least = np.arange(v, -1, -1)  # v, v - 1, ..., 0
    tail = np.ones(v + 1)
    tail[:-1] = betainc(least[:-1], r - least[:-1] + 1, 1 / (1 + np.exp(-epsilon)))
    slack = float(np.max((tail[1:] - tail[0]) / np.arange(1, v + 1)))
    return min(1.0, float(tail[0]) + 2 * count * delta * slack)


@lru_cache(maxsize=4096)
def lower_bound(count: int, r: int, v: int, delta: float = 0.0) -> float:
    """The largest epsilon that ``v`` right of ``r`` guesses refute with 95 % confidence; 0 where they refute none.

    The arguments are those of :func:`chance`, which rises with epsilon as long as it is small. NaN without a guess.
    """
    if r == 0:
        return float("nan")
    if chance(count, r, v, 0.0, delta) > ERROR:
        return 0.0
    low, high = 0.0, ceiling(r) + 1
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if chance(count, r, v, middle, delta) <= ERROR else (low, middle)
    return low


def ceiling(r: int) -> float:
    """``ln(q / (1 - q))`` with ``q = 0.05^(1/r)``: the bound of ``r`` right guesses at delta 0, and so the highest."""
    q = ERROR ** (1 / r)
    return float(np.log(q / (1 - q)))


@dataclass(frozen=True, kw_only=True)
class Audited(Metric):
    """A number of an audit per epoch; both ends of its interval are the value, since a bound is an end itself.

    Attributes:
        value: ``record -> [K,M]``, one number for each model; the metric is the mean of those that are known.
    """

    value: Callable[[Exposure], Tensor]

    @override
    def __call__(self, record: Record, beside: Beside = None) -> Tensor:
        self.others(record, beside)
        assert isinstance(record, Exposure)
        return self.value(record).nanmean(-1)

    @override
    def mean_curve(self, seeds: Sequence[Seed]) -> Curve:
        value = torch.stack([self(*seed) for seed in seeds]).nanmean(0)
        models = sum(record.member.shape[0] for record, _ in seeds if isinstance(record, Exposure))
        return Curve(seeds[0][0].x, value, value, value, torch.full_like(value, models).long())

    @override
    def draws(self, seeds: Sequence[Seed]) -> Draws:
        """The values at every seed, however samples are drawn."""
        value = torch.stack([self(*seed) for seed in seeds])
        fixed = value[:, None].expand(-1, REPLICATES, -1)
        return Draws(value, fixed, value.new_zeros(len(value), 2, value.shape[1]), len(seeds[0][0].sample_id))


def audited(
    *,
    higher_is_better: bool | None = None,
    when: Callable[[Exposure], bool] | None = None,
    terms: Terms = NONE,
) -> Callable[[Callable[[Exposure], Tensor]], Metric]:
    """Register a number of each model, ``record -> [K,M]``; a decorator. The metric has the name of its file."""

    def register(function: Callable[[Exposure], Tensor]) -> Metric:
        metric = Audited(
            value=function, doc=first_paragraph(function), unit="ratio", of=Exposure,
            higher_is_better=higher_is_better, when=when, terms=terms,
        )  # fmt: skip
        return METRICS.register(metric, function.__module__)

    return register
