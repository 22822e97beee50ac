"""What clean models say of an alarm: the rate of false alarms holds in simulations, and what cannot be told is said."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import nn

from tl_robust.auditor.clean_models import ENOUGH, Asked, affordable, ask, operations
from tl_robust.auditor.subject import ReadModel, Subject
from tl_robust.types import ImageSet

IMAGES = ImageSet(torch.zeros(3, 1, 4, 4, dtype=torch.uint8), torch.zeros(3, dtype=torch.int64))


def asked(own: float, *clean: float, of_parent: float = math.nan) -> Asked:
    return Asked(own, tuple((f"model {place}", score) for place, score in enumerate(clean)), of_parent)


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_over_all_orders_a_p_value_is_as_rare_as_it_says(count: int) -> None:
    values = [asked(*order).false_alarms[0] for order in itertools.permutations(range(count + 1))]
    for most in range(1, count + 2):
        share = most / (count + 1)
        assert sum(value <= share + 1e-12 for value in values) / len(values) == pytest.approx(share)


def test_ties_count_as_false_alarms() -> None:
    assert asked(1.0, 1.0, 1.0, 0.5).false_alarms[0] == 3 / 4


def test_in_a_simulation_of_clean_models_the_rate_holds_and_a_shifted_one_is_found() -> None:
    draws = torch.randn(4000, 20, generator=torch.Generator().manual_seed(0)).exp()
    clean = sum(asked(*row).false_alarms[0] <= 0.05 for row in draws.tolist()) / 4000
    assert 0.04 < clean < 0.06
    draws[:, 0] *= 30
    assert sum(asked(*row).false_alarms[0] <= 0.05 for row in draws.tolist()) / 4000 > 0.8


@pytest.mark.parametrize("count", [1, 3, 19, 100])
def test_the_interval_is_exact_and_holds_the_p_value(count: int) -> None:
    from scipy.stats import binomtest

    for more in range(count + 1):
        value, low, high = asked(1.0, *[2.0] * more, *[0.0] * (count - more)).false_alarms
        exact = binomtest(more, count).proportion_ci(0.95, "exact")
        assert (low, high) == pytest.approx((exact.low, exact.high))
        assert low <= value == (1 + more) / (1 + count) <= high


def test_without_clean_models_nothing_is_told() -> None:
    assert asked(5.0).false_alarms == (1.0, 0.0, 1.0)


def test_three_clean_models_cannot_tell_a_rate_below_a_quarter_and_say_so() -> None:
    few = asked(5.0, 1.0, 1.2, 1.1)
    assert few.false_alarms[0] == 0.25
    reasons = few.reasons("Score", "{:.1f}".format)
    assert "Score: 5.0 in the model, and in models that are taken to be clean model 0 1.0, model 1 1.2" in reasons[0]
    assert reasons[1] == (
        "3 clean models cannot tell a false-alarm rate below 25 %; 19 would tell 5 %: give more decoys."
    )
    assert ENOUGH == 19
    assert len(asked(5.0, *[1.0] * 19).reasons("Score", str)) == 1


def test_a_parent_that_is_as_suspicious_is_named_since_the_backdoor_may_be_its_own() -> None:
    reasons = asked(5.0, 6.0, 1.0, 2.0, of_parent=6.0).reasons("Score", str)
    assert "The parent alone is as suspicious, and none of 2 other models" in reasons[-1]
    for quiet in (asked(5.0, 4.0, 1.0, of_parent=4.0), asked(5.0, 6.0, 7.0, of_parent=6.0), asked(5.0, 1.0, 6.0)):
        assert not any("parent" in reason for reason in quiet.reasons("Score", str))


class Tiny(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Conv2d(1, 5, 3, bias=False), nn.Flatten(), nn.Linear(20, 7, bias=False))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.inner(images)


def read(name: str) -> ReadModel:
    return ReadModel(name, Tiny().eval(), tuple("abcdefg"))


def test_operations_are_those_that_are_counted_by_hand() -> None:
    assert operations(Tiny().eval(), IMAGES) == 2 * (5 * 9 * 4 + 20 * 7)


def test_models_that_cost_too_much_are_left_out_from_the_last_and_named() -> None:
    parent, model, decoys = read("parent"), read("mine"), (read("one"), read("two"))
    subject = Subject(model, parent, decoys, IMAGES, tuple("abcdefg"))
    scores = {"mine": 3.0, "parent": 1.0, "one": math.nan, "two": 2.0}
    seen: list[str] = []

    def score(asked_model: ReadModel) -> float:
        seen.append(asked_model.name)
        return scores[asked_model.name]

    each = 10 * operations(model.network, IMAGES)
    assert [affordable(subject, [model] * 4, 10, limit) for limit in (each - 1, each, 3 * each, 9 * each)] == [
        0,
        1,
        3,
        4,
    ]
    everyone = ask(subject, score, subject.candidates, 10, 4 * each)
    assert everyone == Asked(3.0, (("parent", 1.0), ("two", 2.0)), 1.0, (("one", "what it says is not finite"),))
    fewer = ask(subject, score, subject.candidates, 10, 2 * each)
    assert fewer is not None
    assert fewer.clean == (("parent", 1.0),)
    told = fewer.reasons("Score", str)[-1]
    assert told == "one was not asked, since all together would take too long on a CPU (nor were 1 others)."
    assert seen == ["mine", "parent", "one", "two", "mine", "parent"]
    assert ask(subject, score, subject.candidates, 10, each - 1) is None
