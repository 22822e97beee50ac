"""Exact tests against sums by hand."""

from math import comb

import pytest

from tl_robust.trust.exact import at_least, paired


@pytest.mark.parametrize(
    ("count", "trials", "chance"), [(0, 5, 0.3), (1, 5, 0.3), (4, 5, 0.3), (5, 5, 0.3), (30, 200, 0.1)]
)
def test_the_tail_of_a_binomial(count: int, trials: int, chance: float) -> None:
    by_hand = sum(comb(trials, k) * chance**k * (1 - chance) ** (trials - k) for k in range(count, trials + 1))
    assert at_least(count, trials, chance) == pytest.approx(by_hand, rel=1e-9)


def test_the_paired_test_is_two_sided_and_knows_no_order() -> None:
    assert paired(0, 0) == 1
    assert paired(3, 3) == 1
    assert paired(5, 0) == paired(0, 5) == pytest.approx(2 / 32)
    assert paired(1, 9) == pytest.approx(2 * (1 + 10) / 1024)
