"""What chance gives, beside enumerations and densities."""

import math
from itertools import permutations

import pytest
import torch
from scipy.stats import lognorm, norm

from tl_robust.auditor.origin.chance import centered, closer, holm, posterior, trace_z, upper_tail


def test_trace_has_mean_0_and_standard_deviation_1_over_all_orders() -> None:
    matrix = centered(torch.randn(6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 3)
    found = torch.tensor([trace_z(matrix[list(order)]) for order in permutations(range(6))], dtype=torch.float64)
    assert float(found.mean()) == pytest.approx(0, abs=1e-9)
    assert float(found.std(correction=0)) == pytest.approx(1)


def test_what_all_orders_share_is_no_evidence() -> None:
    assert trace_z(centered(torch.full((9, 9), 5.0, dtype=torch.float64))) == 0
    rows = torch.arange(9.0, dtype=torch.float64)[:, None] + torch.arange(9.0, dtype=torch.float64)
    assert trace_z(centered(rows)) == pytest.approx(0, abs=1e-6)


def test_upper_tail_is_that_of_the_normal_curve() -> None:
    for z in (-2.0, 0.0, 1.645, 5.0):
        assert upper_tail(z) == pytest.approx(norm.sf(z), rel=1e-6)
    assert upper_tail(60) > 0


def test_holm_steps_down_and_keeps_the_order() -> None:
    assert holm([0.03, 0.01, 0.5, 0.02]) == pytest.approx([0.06, 0.04, 0.5, 0.06])
    assert holm([0.4, 0.9]) == pytest.approx([0.8, 0.9])
    assert holm([0.2]) == [0.2]


@pytest.mark.parametrize("z", [0.5, 2.0, 3.0, 6.0])
def test_posterior_is_bayes_rule(z: float) -> None:
    ratio = lognorm.pdf(z, 1, scale=15) / norm.pdf(z)
    assert posterior(z, 4, 15) == pytest.approx(ratio / 4 / (1 + ratio / 4), rel=1e-6)


def test_posterior_holds_at_both_ends() -> None:
    assert posterior(-1, 3, 15) == 0
    assert posterior(500, 3, 15) == pytest.approx(1)
    assert posterior(1e-9, 3, 15) < 1e-6
    assert posterior(3.0, 1, 15) > posterior(3.0, 5, 15)


def test_closer_is_one_half_without_a_difference_and_symmetric() -> None:
    one, other = torch.rand(2, 50, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert closer(one, one) == 0.5
    assert closer(one, other) == pytest.approx(1 - closer(other, one))
    assert closer(one + 0.1, one) == 1
    assert closer(one, one + 0.1) == 0
    difference = one - other
    z = float(difference.mean() / (difference.std() / math.sqrt(50)))
    assert closer(one, other) == pytest.approx(norm.cdf(z))
