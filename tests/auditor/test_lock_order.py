"""Locks are asked from cause to symptom, each by a name, and what failed spares those that would repeat it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.auditor.locks_made import MEAN, STD, Plain, failed, subject, train
from tl_robust.audit.record import Lock
from tl_robust.auditor.locks import LOCKS, Answer, Question, ask, lock
from tl_robust.auditor.subject import Subject
from tl_robust.models.base import Normalize


@pytest.fixture(scope="module")
def good() -> nn.Module:
    network: nn.Module = train(Plain(Normalize(MEAN, STD)))
    return network


OWN = ["head_is_trained", "class_order", "preprocessing", "better_than_chance", "as_stated", "not_in_training"]


def test_all_are_asked_once_and_in_this_order(good: nn.Module) -> None:
    locks = ask(subject(good, stated=0.95))
    assert all(isinstance(one, Lock) for one in locks)
    assert [one.name for one in locks if one.name in OWN] == OWN
    assert sorted(one.name for one in locks) == LOCKS.names()
    assert failed(locks) == []


def test_every_lock_that_spares_another_is_asked_before_it() -> None:
    for name in LOCKS.names():
        for other in LOCKS[name].unless:
            assert LOCKS[other].place < LOCKS[name].place, (name, other)


def test_what_fails_spares_those_that_say_so_and_no_others(good: nn.Module) -> None:
    """With locks of their own names, which are forgotten after the test."""
    seen: list[str] = []

    def added(name: str, place: int, passed: bool | None, unless: tuple[str, ...] = ()) -> None:
        def answer(_: Subject) -> Answer:
            seen.append(name)
            return Answer(passed, "So it is.")

        LOCKS.register(Question(answer, place, unless), __name__, name)

    added("first", 1, False)
    added("spared", 3, True, ("first",))
    added("behind_the_spared", 4, True, ("spared", "unknown"))
    added("other", 2, None)
    added("after_other", 5, True, ("other",))
    locks = {one.name: one for one in ask(subject(good)) if one.reason == "So it is." or "first" in one.reason}
    assert list(locks) == ["first", "other", "spared", "behind_the_spared", "after_other"]
    assert seen == ["first", "other", "behind_the_spared", "after_other"]
    assert locks["spared"] == Lock("spared", None, "Not asked, since first failed: repair that first.")


def test_a_lock_has_the_name_of_its_file(good: nn.Module) -> None:
    @lock(99)
    def whatever(of: Subject) -> Answer:
        return Answer(True, f"{len(of.images)} images.")

    assert LOCKS[__name__.rpartition(".")[2]] is whatever
    assert ask(subject(good))[-1] == Lock(__name__.rpartition(".")[2], True, "200 images.")


def test_a_constant_model_is_called_so_and_not_blamed_for_anything_else(good: nn.Module) -> None:
    network = train(Plain(Normalize(MEAN, STD)))
    with torch.no_grad():
        network.classifier.bias[4] = 1e4
    locks = ask(subject(network, stated=0.9))
    assert failed(locks) == ["better_than_chance"]
    reason = next(one.reason for one in locks if one.passed is False)
    assert "100.0 % of the 200 images the class '4'" in reason


def test_swapped_classes_are_not_called_a_wrong_preparation(good: nn.Module) -> None:
    network = train(Plain(Normalize(MEAN, STD)))
    with torch.no_grad():
        for value in (network.classifier.weight, network.classifier.bias):
            value.copy_(value.roll(1, 0).clone())
    assert subject(network).accuracy < 0.05
    assert failed(ask(subject(network, stated=0.95))) == ["class_order"]


def test_a_wrong_preparation_is_not_called_an_order_of_classes() -> None:
    wrong = [Normalize(MEAN, (1.0,) * 3), Normalize((0.5,) * 3, (0.5,) * 3), Normalize((0.7, 0.3, 0.1), STD)]
    found = []
    for seed in range(4):
        network = train(Plain(Normalize(MEAN, STD), norm=bool(seed % 2)), seed=seed)
        for first in wrong:
            network.first = first
            of = subject(network)
            if of.accuracy < 0.8:
                found += failed(ask(of))
    assert set(found) == {"preprocessing"}
    assert len(found) >= 8
