"""Classes in another order than the logits: a single pair is found and named, and no weak model is blamed for it."""

from __future__ import annotations

import copy
from itertools import permutations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.auditor.locks_made import MEAN, STD, Plain, asked, digits, relabeled, subject, train
from tests.auditor.test_lock_of_accuracy import Answers, answered
from tl_robust.auditor.locks.named.class_order import _confusion, _order
from tl_robust.models.base import Normalize


@pytest.fixture(scope="module")
def good() -> nn.Module:
    network: nn.Module = train(Plain(Normalize(MEAN, STD)))
    return network


def renamed(network: nn.Module, order: list[int]) -> nn.Module:
    """Its logits stand in another order."""
    changed = copy.deepcopy(network)
    with torch.no_grad():
        for value in (changed.classifier.weight, changed.classifier.bias):
            value.copy_(value[order].clone())
    return changed


def test_a_single_pair_of_ten_is_found_and_named(good: nn.Module) -> None:
    assert asked("class_order", subject(good)).passed is True
    found = asked("class_order", subject(renamed(good, [0, 1, 2, 8, 4, 5, 6, 7, 3, 9])))
    assert found.passed is False
    assert found.reason.startswith("With 2 classes in another order it is right on 94.5 % of 200 images instead of 7")
    assert "'3' called '8' (" in found.reason
    assert "'8' called '3' (" in found.reason
    assert found.reason.endswith("; put its class names into the order of its logits.")


@pytest.mark.parametrize("pair", [(0, 1), (1, 7), (4, 9), (2, 5)])
@pytest.mark.parametrize("count", [100, 200, 600])
def test_every_pair_is_found_from_a_hundred_images_on(good: nn.Module, pair: tuple[int, int], count: int) -> None:
    order = list(range(10))
    order[pair[0]], order[pair[1]] = pair[1], pair[0]
    found = asked("class_order", subject(renamed(good, order), count=count))
    assert found.passed is False
    assert f"With 2 classes in another order it is right on {100 * subject(good, count=count).accuracy:.1f} %" in (
        found.reason
    )


def test_an_order_by_name_or_moved_by_one_is_found(good: nn.Module) -> None:
    """All ten, and images whose labels count from one."""
    found = asked("class_order", subject(renamed(good, [4, 9, 5, 1, 8, 0, 7, 2, 6, 3])))
    assert found.passed is False
    assert "With 10 classes in another order" in found.reason
    assert "and 7 more classes" in found.reason
    test = digits()[1].take(torch.arange(200))
    moved = asked("class_order", subject(good, relabeled(test, [1, 2, 3, 4, 5, 6, 7, 8, 9, 0])))
    assert moved.passed is False
    assert "'1' called '0'" in moved.reason


@given(st.integers(0, 10_000), st.floats(0, 1), st.sampled_from([40, 200, 600]), st.sampled_from([2, 3, 10, 50]))
@settings(max_examples=150, deadline=None)
def test_a_model_in_the_right_order_is_not_refused(seed: int, skill: float, count: int, classes: int) -> None:
    """It is right with some chance, and else names a class by a bias of its own, whatever both are."""
    classes = min(classes, 10)
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (count,), generator=draw)
    bias = torch.rand(classes, classes, generator=draw) ** 4
    bias = torch.where(bias == bias.amax(1, keepdim=True), 0.3 * bias, bias)  # nobody's images have one foreign name
    wrong = torch.multinomial(bias[labels] + 1e-3, 1, generator=draw)[:, 0]
    given_ = torch.where(torch.rand(count, generator=draw) < 0.55 + 0.45 * skill, labels, wrong)
    assert asked("class_order", subject(Answers(), answered(labels, given_))).passed is not False


def test_a_model_without_knowledge_is_rarely_blamed_for_an_order() -> None:
    """Of 200 models that answer by chance."""
    blamed = 0
    for seed in range(200):
        draw = torch.Generator().manual_seed(seed)
        labels, given_ = (torch.randint(10, (200,), generator=draw) for _ in range(2))
        blamed += asked("class_order", subject(Answers(), answered(labels, given_))).passed is False
    assert blamed == 0


def test_one_class_alone_is_not_asked() -> None:
    labels = torch.arange(200) % 10
    for given_, truth in ((torch.zeros(200), labels), (labels, torch.zeros(200, dtype=torch.long))):
        found = asked("class_order", subject(Answers(), answered(truth, given_)))
        assert found.passed is None


@given(st.integers(0, 10_000), st.integers(2, 5))
@settings(max_examples=60, deadline=None)
def test_the_order_is_the_best_of_all_where_every_class_has_a_majority(seed: int, size: int) -> None:
    """Compared with all permutations, one by one."""
    draw = torch.Generator().manual_seed(seed)
    truth = torch.randperm(size, generator=draw)
    labels = torch.arange(40 * size) % size
    noisy = torch.rand(len(labels), generator=draw) < 0.3
    said = torch.where(noisy, torch.randint(size, labels.shape, generator=draw), truth[labels])
    table = _confusion(said, labels, size)
    naive = torch.zeros(size, size, dtype=torch.long)
    for one, other in zip(labels.tolist(), said.tolist(), strict=True):
        naive[one, other] += 1
    assert torch.equal(table, naive)

    def hits(order: Tensor) -> int:
        return int(table[torch.arange(size), order].sum())

    best = max((torch.tensor(order) for order in permutations(range(size))), key=hits)
    assert torch.equal(_order(table), best)
