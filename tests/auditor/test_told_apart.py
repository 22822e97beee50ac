"""How well a score tells members from others: against loops, closed forms and simulations of known truth."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
import torch
from scipy.stats import binom
from torch import Tensor

from tl_robust.auditor.told_apart import Apart, best_threshold, enough

NORMAL = NormalDist()


def scores(seed: int, d: float, members: int, others: int) -> Apart:
    draws = torch.Generator().manual_seed(seed)
    return Apart(
        torch.randn(members, generator=draws, dtype=torch.float64) + d,
        torch.randn(others, generator=draws, dtype=torch.float64),
    )


def coverage(number: str, truth: float, d: float, count: int, runs: int = 400, tail: float = 0.025) -> float:
    held = 0
    for seed in range(runs):
        apart = scores(seed, d, count, count)
        found = apart.advantage(seed, tail) if number == "advantage" else getattr(apart, number)(tail)
        assert found.low <= found.value <= found.high
        held += found.low <= truth <= found.high
    return held / runs


def test_an_area_is_that_of_a_loop_over_pairs_and_has_the_variance_of_delong() -> None:
    apart = Apart(torch.tensor([3.0, 1.0, 2.0, 2.0, 5.0]).double(), torch.tensor([1.0, 0.0, 2.0, 2.5]).double())
    wins = np.array([[(a > b) + (a == b) / 2 for b in apart.others.tolist()] for a in apart.members.tolist()])
    found = apart.area()
    assert found.value == pytest.approx(wins.mean())
    variance = wins.mean(1).var(ddof=1) / 5 + wins.mean(0).var(ddof=1) / 4
    half = NORMAL.inv_cdf(0.975) * math.sqrt(variance) / (wins.mean() * (1 - wins.mean()))
    logit = math.log(wins.mean() / (1 - wins.mean()))
    ends = [1 / (1 + math.exp(-(logit + sign * half))) for sign in (-1, 1)]
    assert found.low <= ends[0] + 1e-12
    assert found.high >= ends[1] - 1e-12
    wide = scores(1, 1.0, 300, 300)
    assert wide.area(0.001).low < wide.area().low < wide.area().value < wide.area().high < wide.area(0.001).high


def test_a_perfect_area_has_no_interval_without_width() -> None:
    perfect = Apart(torch.arange(10.0, 40.0).double(), torch.arange(0.0, 10.0).double())
    found = perfect.area()
    assert found.value == found.high == 1
    assert found.low == pytest.approx(0.025 ** (1 / 10))


@pytest.mark.parametrize("d", [0.0, 0.5, 2.0])
def test_intervals_of_areas_hold_the_truth(d: float) -> None:
    assert coverage("area", NORMAL.cdf(d / math.sqrt(2)), d, 60) >= 0.93


@pytest.mark.parametrize(("d", "count"), [(0.0, 60), (1.0, 60), (2.0, 700)])
def test_intervals_of_found_members_hold_the_truth(d: float, count: int) -> None:
    assert coverage("found", NORMAL.cdf(d - NORMAL.inv_cdf(0.99)), d, count) >= 0.95


def test_found_members_are_those_above_the_smallest_threshold_that_accuses_at_most_one_percent() -> None:
    apart = scores(3, 1.5, 500, 500)
    below = [t for t in apart.others.tolist() if int((apart.others > t).sum()) <= 5]
    assert apart.found().value == float((apart.members > min(below)).double().mean())
    strong = scores(4, 4.0, 1500, 1500).found()
    assert strong.low > 0.8  # with enough others the interval says something


def test_with_few_others_no_threshold_is_known_and_the_lower_end_is_zero() -> None:
    least = enough()
    assert 1 - 0.99**least >= 1 - 0.025 / 2 > 1 - 0.99 ** (least - 1)
    far = torch.full((50,), 9.0, dtype=torch.float64)
    assert Apart(far, scores(0, 0, 2, least - 1).others).found().low == 0
    assert Apart(far, scores(0, 0, 2, least).others).found().low > 0.8


@pytest.mark.parametrize("count", [437, 700, 1200])
def test_the_two_others_hold_the_true_threshold_between_them(count: int) -> None:
    """By the binomial distribution alone: of so many others, how many are above the true threshold."""
    apart = Apart(torch.zeros(2).double(), torch.arange(count).double())
    member = [Apart(torch.full((2,), float(place)).double(), apart.others) for place in range(count + 1)]
    called_low = [place for place in range(count + 1) if member[place].found().low > 0]
    least = count - min(called_low) + 1  # place of the upper one from the top: members must be above it
    assert binom.cdf(least - 1, count, 0.01) < 0.0125 <= binom.cdf(least, count, 0.01)


@pytest.mark.parametrize("d", [0.0, 1.0])
def test_intervals_of_the_advantage_hold_the_best_advantage(d: float) -> None:
    assert coverage("advantage", 2 * NORMAL.cdf(d / 2) - 1, d, 200) >= 0.92


def test_an_advantage_is_not_taken_where_it_was_chosen() -> None:
    values = [scores(seed, 0.0, 20, 20).advantage(seed).value for seed in range(300)]
    assert abs(sum(values) / 300) < 0.03
    assert sum(chosen(scores(seed, 0.0, 20, 20)) for seed in range(300)) / 300 > 0.15  # what the same images would say


def chosen(apart: Apart) -> float:
    threshold = best_threshold(apart.members, apart.others)
    rates = [float((side > threshold).double().mean()) for side in (apart.members, apart.others)]
    return rates[0] - rates[1]


def test_the_best_threshold_is_that_of_a_loop() -> None:
    for seed in range(20):
        apart = scores(seed, 0.7, 9, 11)
        members, others = ((side * 2).round() for side in (apart.members, apart.others))  # with ties

        def gain(threshold: float, members: Tensor = members, others: Tensor = others) -> float:
            return float((members > threshold).double().mean() - (others > threshold).double().mean())

        best = max(gain(float(value)) for value in torch.cat([members, others]))
        found = best_threshold(members, others)
        assert gain(found) == pytest.approx(max(best, 0.0))
