"""The price of the public parent: what it is, and how often its interval holds the truth."""

from __future__ import annotations

import math

import pytest
import torch

from tl_robust.auditor.evasion import FEW, priced
from tl_robust.seeding import generator
from tl_robust.types import Verdict


def draws(count: int, share: float, name: object) -> torch.Tensor:
    return (torch.rand(count, generator=generator("price", str(name))) < share).double()


def test_the_price_is_the_difference_of_shares() -> None:
    parent, unrelated = draws(200, 0.8, "p"), torch.stack([draws(200, 0.3, place) for place in range(3)])
    made = priced(parent, unrelated, "mi", "linf", 8 / 255)
    assert math.isclose(made.price.value, float(parent.mean() - unrelated.mean()), abs_tol=1e-9)
    assert made.price.low < made.price.value < made.price.high
    assert math.isclose(made.unrelated.value, float(unrelated.mean()), abs_tol=1e-9)
    assert (made.models, made.price.n, made.price.trust.level) == (3, 200, "green")


def test_one_unrelated_model_says_nothing_of_others() -> None:
    made = priced(draws(50, 0.5, "p"), draws(50, 0.5, "q")[None], "mi", "linf", 8 / 255)
    assert made.price.trust == FEW


def test_red_trust_of_the_transfer_is_that_of_the_price() -> None:
    red = Verdict("red", ("No gradient.",))
    made = priced(draws(50, 0.5, "p"), torch.stack([draws(50, 0.5, "q")] * 2), "mi", "linf", 8 / 255, red)
    assert made.price.trust.level == "red"


def test_the_same_examples_cost_nothing_and_are_not_sure() -> None:
    parent = draws(60, 0.4, "p")
    made = priced(parent, torch.stack([parent] * 3), "mi", "linf", 8 / 255)
    assert made.price.value == 0
    assert made.price.low < 0 < made.price.high


@pytest.mark.parametrize("spread", [0.0, 0.08])
@pytest.mark.parametrize("price", [0.0, 0.4])
def test_intervals_hold_what_being_the_parent_adds(price: float, spread: float) -> None:
    """Models of one kind have rates of their own, and so would the parent have if it were none."""
    held, wide, trials = 0, 0.0, 200
    for trial in range(trials):
        rates = 0.3 + spread * torch.randn(5, generator=generator("rates", trial, str(spread)))
        hard = torch.rand(150, generator=generator("hard", trial))  # an image is as easy for all
        own, *others = ((hard < rate).double() for rate in (rates + torch.eye(5)[0] * price).tolist())
        made = priced(own, torch.stack(others), "mi", "linf", 8 / 255)
        held += made.price.low <= price <= made.price.high
        wide += made.price.high - made.price.low
    assert held >= 0.92 * trials  # 95 % but for luck: two standard deviations below are 92 %
    assert wide / trials < (0.75 if spread else 0.2)
