"""What chance alone would give: p-values, several candidates, and how certain a candidate is.

Axes: U units (filters of a layer, or features).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

LEAST = 1e-12  # a p-value is not told apart from smaller ones: so far out the normal curve is no guide


def trace_z(similar_UU: Tensor) -> float:
    """How many standard deviations the trace of a matrix is above what orders of its rows give; 0 where all give one.

    With rows and columns centered, the trace over all orders has mean 0 and variance ``sum(M^2) / (U - 1)`` and is
    nearly normal (Hoeffding, "A combinatorial central limit theorem", 1951).

    Args:
        similar_UU: At least 2 by 2; rows and columns of :func:`centered`.
    """
    spread = float(similar_UU.square().sum()) / (len(similar_UU) - 1)
    return float(similar_UU.trace()) / math.sqrt(spread) if spread > 1e-24 else 0.0


def centered(similar_UU: Tensor) -> Tensor:
    """A square matrix less what its rows and columns have in all orders."""
    return similar_UU - similar_UU.mean(0) - similar_UU.mean(1, keepdim=True) + similar_UU.mean()


def upper_tail(z: float) -> float:
    """Chance of a standard normal number above ``z``."""
    return max(LEAST, math.erfc(z / math.sqrt(2)) / 2)


def holm(p: Sequence[float]) -> list[float]:
    """p-values corrected for so many candidates, in their order (Holm, Scandinavian Journal of Statistics, 1979)."""
    order = sorted(range(len(p)), key=lambda place: p[place])
    corrected, largest = [0.0] * len(p), 0.0
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, (len(p) - rank) * p[place]))
        corrected[place] = largest
    return corrected


def posterior(z: float, candidates: int, median: float) -> float:
    """How likely a candidate is the parent, where before it is as likely as not that one of so many candidates is it.

    By Bayes' rule ``r / (candidates + r)``, where r is how many times as likely ``z`` is of a child as by chance. By
    chance it is standard normal; of children its logarithm is taken to be normal with this median and a spread of 1,
    which is wider than what was seen, since other networks have other numbers of units.

    Args:
        z: Standard deviations, as of :func:`trace_z`.
        candidates: How many there are.
        median: Of z, of children.
    """
    if z <= 0:
        return 0.0
    far = math.log(z / median)
    ratio = (z * z - far * far) / 2 - math.log(z)  # of the two densities, whose constants are the same
    return 1 / (1 + candidates * math.exp(-min(700.0, max(-700.0, ratio))))


def closer(one_U: Tensor, other_U: Tensor) -> float:
    """How likely the first is the closer one of two candidates, by what the units of both have in common with a model.

    The distribution function of a standard normal number at the mean difference over its standard error; one half where
    the two do not differ.
    """
    difference_U = (one_U - other_U).double()
    error = float(difference_U.std()) / math.sqrt(len(difference_U))
    if error < 1e-9:
        return 0.5 if abs(float(difference_U.mean())) < 1e-9 else float(difference_U.mean() > 0)
    return 1 - math.erfc(float(difference_U.mean()) / error / math.sqrt(2)) / 2
