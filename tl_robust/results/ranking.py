"""Ranks that say no more than the intervals do.

All pairs of rows that answer one question are compared, and Holm's correction over these comparisons keeps the chance
of any wrong order at 5 %. The rank of a row is 1 and the number of rows that are shown to be better, so that rows which
cannot be told from the best share rank 1. With 95 % confidence every true rank lies between that number and the number
of rows that are not shown to be worse: simultaneous confidence intervals for ranks (Al Mohamad, Goeman and van Zwet,
"Simultaneous confidence intervals for ranks with application to ranking institutions", Biometrics 2022), here from
Holm's tests in place of Tukey's.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
import torch
from scipy.stats import t as student

from tl_robust.metrics.estimate import TAIL, Draws, estimate, holm, square_and_add
from tl_robust.results.names import grouped

LEVEL = 0.05
LEAST_SEEDS = 3  # as for claims: two seeds say too little of the luck of training (docs/statistics.md)
CHUNK = 500  # pairs whose bootstrap draws are in memory at a time


@dataclass(frozen=True)
class Contender:
    """One row that takes part.

    Attributes:
        value: In the metric's unit.
        low: Lower end of its 95 % interval.
        high: Upper end.
        seeds: How many it is a mean over.
        draws: The same number with samples drawn again, ``K`` = 1; None where the samples are not known.
        met: Which samples and seeds the draws are of: those of the same are compared sample by sample and seed by seed.
    """

    value: float
    low: float
    high: float
    seeds: int
    draws: Draws | None = None
    met: Hashable = None


@dataclass(frozen=True)
class Rank:
    """Where a row stands among ``of`` rows.

    Attributes:
        first: The best that its true rank may be: the rank that it is given.
        last: The worst that it may be.
        of: Rows that were compared.
    """

    first: int
    last: int
    of: int

    @property
    def told(self) -> bool:
        """Whether it was told from any other row."""
        return self.first > 1 or self.last < self.of


def ranks(contenders: Sequence[Contender], higher_is_better: bool) -> list[Rank]:
    """The rank of each row.

    Args:
        contenders: Rows that answer the same question; with finite values and ends.
        higher_is_better: Which direction of the metric is good.
    """
    p = p_values(contenders)
    better, worse = [0] * len(contenders), [0] * len(contenders)
    for (first, second), chance in p.items():
        if chance < LEVEL:
            ahead = (contenders[first].value > contenders[second].value) == higher_is_better
            winner, loser = (first, second) if ahead else (second, first)
            better[loser] += 1
            worse[winner] += 1
    count = len(contenders)
    return [Rank(1 + above, count - below, count) for above, below in zip(better, worse, strict=True)]


def p_values(contenders: Sequence[Contender]) -> dict[tuple[int, int], float]:
    """Two-sided p-values that two rows are the same, by their places, after Holm's correction over all of them.

    Rows of the same samples and seeds are compared by the difference of every sample, others from their intervals as if
    independent, which is too careful where they share a test set. What cannot be compared is left out.
    """
    pairs = list(combinations(range(len(contenders)), 2))

    def met(pair: tuple[int, int]) -> Hashable:
        first, second = (contenders[place] for place in pair)
        return first.met if first.draws and second.draws and first.met == second.met else None

    raw = dict[tuple[int, int], float]()
    for shared, members in grouped(pairs, met).items():
        for start in range(0, len(members), CHUNK):
            chunk = members[start : start + CHUNK]
            raw |= zip(chunk, (_independent if shared is None else _paired)(contenders, chunk), strict=True)
    known = [pair for pair in pairs if not math.isnan(raw[pair])]
    return dict(zip(known, holm([raw[pair] for pair in known]), strict=True))


def _paired(contenders: Sequence[Contender], pairs: Sequence[tuple[int, int]]) -> list[float]:
    sides = []
    for side in (0, 1):
        draws = [item for pair in pairs if (item := contenders[pair[side]].draws)]
        parts: dict[str, Any] = {
            name: torch.cat([getattr(one, name) for one in draws], dim=-1) for name in ("value", "again", "unseen")
        }
        sides.append(replace(draws[0], **parts))
    change = estimate(sides[1] - sides[0])
    most = max(2 * (change.seeds - 1), 1)  # as Student's t of two samples has: in the tails that Holm asks for, the
    change = replace(change, freedom=change.freedom.clamp(max=float(most)))  # degrees from few seeds are too many
    p = (2 * torch.minimum(change.above(), (-change).above())).clamp(max=1.0)
    return p.masked_fill(~(change.error > 0), math.nan).tolist()


def _independent(contenders: Sequence[Contender], pairs: Sequence[tuple[int, int]]) -> list[float]:
    changes = []
    for places in pairs:
        first, second = (contenders[place] for place in places)
        change, low, high = square_and_add(first, second)
        reach = change - low if change > 0 else high - change
        freedom = first.seeds + second.seeds - 2
        changes.append((abs(change) / reach if reach > 0 else math.nan, freedom or math.inf))
    ratio, freedom_of = (np.array(column) for column in zip(*changes, strict=True))
    return (2 * student.sf(ratio * student.isf(TAIL, freedom_of), freedom_of)).tolist()
