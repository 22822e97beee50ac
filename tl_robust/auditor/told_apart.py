"""How well a score of one model tells members from non-members, where both are independent samples.

Every interval takes the chance ``tail`` with which each of its ends may miss the truth, so that those of several scores
can hold together (Bonferroni).

Axes: N members, M non-members.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from scipy.special import ndtri
from scipy.stats import binom
from torch import Tensor

from tl_robust.metrics.estimate import TAIL, clopper_pearson, square_and_add, unseen_share
from tl_robust.metrics.ranking import share_below
from tl_robust.seeding import generator

FALSE = 0.01  # share of non-members that may be called
EDGE = 1e-6  # distance from 0 and 1 within which an area is not taken on the logit


@dataclass(frozen=True)
class Interval:
    """A number with the ends of its interval; these are NaN where nothing can be told."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Apart:
    """A score of members and of non-members; larger is more likely a member.

    Attributes:
        members: float64 ``[N]``, N at least 2.
        others: float64 ``[M]``, M at least 2.
    """

    members: Tensor
    others: Tensor

    @property
    def finite(self) -> bool:
        """Whether every score is; all that is below needs that."""
        return bool(torch.cat([self.members, self.others]).isfinite().all())

    def area(self, tail: float = TAIL) -> Interval:
        """Area under the ROC curve: the share of pairs in the right order, half of those with equal scores.

        The interval is that of DeLong, DeLong, Clarke-Pearson (Biometrics 1988) on the logit, and reaches at least as
        far as samples of an unseen kind on either side could move the area.
        """
        won, lost = share_below(self.members, self.others), 1 - share_below(self.others, self.members)
        value = float(won.mean())
        variance = float(won.var() / len(won) + lost.var() / len(lost))
        inner = min(max(value, EDGE), 1 - EDGE)
        reach = -float(ndtri(tail)) * math.sqrt(variance) / (inner * (1 - inner))
        low, high = (1 / (1 + math.exp(-(math.log(inner / (1 - inner)) + sign * reach))) for sign in (-1, 1))
        unseen = max(unseen_share(len(won)), unseen_share(len(lost)))
        return Interval(value, min(low, value * (1 - unseen)), max(high, value + (1 - value) * unseen))

    def found(self, tail: float = TAIL) -> Interval:
        """Share of members above the score that 1 % of all non-members are above.

        The value is at the smallest threshold above which at most 1 % of these non-members are. The interval is exact
        and so a wide one: two non-members hold the true threshold between them, and members above each are counted
        (Clopper and Pearson), each with half of ``tail``. With fewer than :func:`enough` non-members no upper one is
        known, and the lower end is 0.
        """
        falling, count = self.others.sort(descending=True).values, len(self.others)
        allowed = int(FALSE * count + 1e-9)
        value = float((self.members > falling[allowed]).double().mean())
        least, most = (int(binom.ppf(chance, count, FALSE)) for chance in (tail / 2, 1 - tail / 2))
        low = self._above(falling[least - 1], tail / 2).low if least else 0.0  # as many are above the true threshold
        high = self._above(falling[most], tail / 2).high if most < count else 1.0  # and no more than these
        return Interval(value, min(low, value), max(high, value))

    def advantage(self, seed: int, tail: float = TAIL) -> Interval:
        """Share of members called less that of non-members, at a threshold that is chosen on other samples.

        Each half is decided at the threshold that is best on the other half. The interval is that of two independent
        shares (Clopper and Pearson; Newcombe's square-and-add).
        """
        inside, outside = _halves(self.members, "members", seed), _halves(self.others, "others", seed)
        called = wrongly = 0
        for own in (0, 1):
            threshold = best_threshold(inside[1 - own], outside[1 - own])
            called += int((inside[own] > threshold).sum())
            wrongly += int((outside[own] > threshold).sum())
        right, wrong = _share(called, len(self.members), tail), _share(wrongly, len(self.others), tail)
        return Interval(*square_and_add(wrong, right))

    def _above(self, threshold: Tensor, tail: float) -> Interval:
        return _share(int((self.members > threshold).sum()), len(self.members), tail)


def enough(tail: float = TAIL) -> int:
    """Non-members with which the highest lies above the true threshold of 1 %, but for half of ``tail``."""
    return math.ceil(math.log(tail / 2) / math.log(1 - FALSE))


def best_threshold(members: Tensor, others: Tensor) -> float:
    """The score with the largest share of members above it less that of others, of equals the largest; inf for none."""
    values = torch.cat([members, others]).unique()
    rates = [
        1 - torch.searchsorted(side.sort().values, values, side="right").double() / len(side)
        for side in (members, others)
    ]
    gain = rates[0] - rates[1]
    if float(gain.max()) <= 0:
        return math.inf
    return float(values[(gain == gain.max()).nonzero()[-1, 0]])


def _halves(values: Tensor, name: str, seed: int) -> tuple[Tensor, Tensor]:
    order = torch.randperm(len(values), generator=generator("halves", name, seed))
    return values[order[0::2]], values[order[1::2]]


def _share(hits: int, n: int, tail: float) -> Interval:
    low, high = clopper_pearson(torch.tensor([hits]).double(), torch.tensor([n]).double(), tail)
    return Interval(hits / n, float(low), float(high))
