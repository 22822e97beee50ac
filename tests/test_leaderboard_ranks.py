"""Ranks that intervals bear out, by simulation and by hand."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from scipy.stats import binom
from scipy.stats import t as student

from tl_robust.metrics.estimate import Draws, estimate
from tl_robust.results.ranking import Contender, p_values, ranks


def row(value: float, half: float = 0.02, seeds: int = 5) -> Contender:
    return Contender(value, value - half, value + half, seeds)


def places(*rows: Contender, higher: bool = True) -> list[tuple[int, int]]:
    return [(rank.first, rank.last) for rank in ranks(rows, higher)]


def test_what_cannot_be_told_from_the_best_shares_its_rank() -> None:
    assert places(row(0.9), row(0.89), row(0.5), row(0.1)) == [(1, 2), (1, 2), (3, 3), (4, 4)]
    assert places(row(0.1), row(0.5), row(0.89), row(0.9)) == [(4, 4), (3, 3), (1, 2), (1, 2)]
    assert places(row(0.9), row(0.5), higher=False) == [(2, 2), (1, 1)]
    assert places(row(0.9), row(0.85, 0.3), row(0.5)) == [(1, 2), (1, 3), (2, 3)], "who is unsure is not ahead of all"
    assert places(row(0.5), row(0.5)) == [(1, 2), (1, 2)]
    assert places(row(0.9, 0.0), row(0.1)) == [(1, 2), (1, 2)], "an interval of no width is none"


def test_many_rows_need_more_than_two() -> None:
    """A difference that is beyond noise alone is not among thirty others."""
    pair = row(0.50), row(0.555)
    assert [rank.told for rank in ranks(pair, True)] == [True, True]
    crowd = [row(0.52 + 0.0005 * place) for place in range(30)]
    assert not any(rank.told for rank in ranks([*pair, *crowd], True))


def test_noise_gives_no_ranks() -> None:
    """Five rows of which three are the same: in at most 5 % of boards any rank is better or worse than it can be."""
    draw = torch.Generator().manual_seed(1)
    truth = torch.tensor([0.6, 0.6, 0.6, 0.3, 0.3])
    best, worst = torch.tensor([1, 1, 1, 4, 4]), torch.tensor([3, 3, 3, 5, 5])
    wrong, tries, told = 0, 400, 0
    for _ in range(tries):
        values = truth + 0.02 * torch.randn(5, generator=draw)
        found = torch.tensor(places(*(row(float(value), 1.96 * 0.02, 400) for value in values)))
        wrong += bool(((found[:, 0] > best) | (found[:, 1] < worst)).any())
        told += found[3].tolist() == [4, 5]
    assert wrong <= binom.isf(0.001, tries, 0.05), f"{wrong} of {tries} boards have a wrong rank"
    assert wrong > 0, "the simulation can see wrong ranks"
    assert told > 0.95 * tries


def drawn(chance: Sequence[float], luck: float, draw: torch.Generator, samples: int = 150) -> list[Contender]:
    """Rows of three seeds on the same samples, some of which are hard for all."""
    ease = 0.25 * torch.randn(samples, generator=draw)
    found = []
    for share in chance:
        each = share + luck * torch.randn(3, 1, generator=draw) + ease
        right = (torch.rand(3, samples, generator=draw) < each).double()[:, None]
        draws = Draws.of(right, lambda means: means, torch.tensor([[0.0], [1.0]], dtype=torch.float64))
        value = float(right.mean())
        found.append(Contender(value, value - 0.5, value + 0.5, 3, draws, "same samples and seeds"))
    return found


def test_rows_of_the_same_samples_are_compared_sample_by_sample() -> None:
    draw = torch.Generator().manual_seed(2)
    tries = 60
    wrong = sum(any(rank.told for rank in ranks(drawn([0.5] * 3, 0.02, draw), True)) for _ in range(tries))
    assert wrong <= binom.isf(0.001, tries, 0.05), f"{wrong} of {tries} boards of equals have ranks"
    rows = drawn([0.75, 0.45], 0.0, draw)
    assert places(*rows) == [(1, 1), (2, 2)], "told by the samples: the intervals alone overlap"
    apart = [Contender(item.value, item.low, item.high, 3) for item in rows]
    assert places(*apart) == [(1, 2), (1, 2)]
    strangers = [Contender(item.value, item.low, item.high, 3, item.draws, place) for place, item in enumerate(rows)]
    assert p_values(strangers) == p_values(apart), "other samples are not paired"


def test_three_seeds_have_no_more_degrees_of_freedom_than_two_samples_of_three() -> None:
    """Holm asks for tails, where the degrees of freedom of a few seeds that agree by chance say too much."""
    first, second = drawn([0.6, 0.45], 0.0, torch.Generator().manual_seed(1))
    assert first.draws
    assert second.draws
    change = estimate(second.draws - first.draws)
    assert float(change.freedom) > 4
    (p,) = p_values([first, second]).values()
    assert p == pytest.approx(2 * student.sf(abs(float(change.value / change.error)), 4))
