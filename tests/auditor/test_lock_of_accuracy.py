"""Accuracy beside chance, and beside what the owner states: boundaries are those of exact tests."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.stats import binom, binomtest
from torch import Tensor, nn

from tests.auditor.locks_made import asked, subject
from tl_robust.types import ImageSet


class Answers(nn.Module):
    """Logits that are read off the images: the first pixel of each is its answer, the second one says NaN."""

    def forward(self, images: Tensor) -> Tensor:
        codes = (images[:, 0, 0, :2] * 255).round()
        logits = 5 * nn.functional.one_hot(codes[:, 0].long(), 10).float()
        return torch.where(codes[:, 1:] > 0, torch.nan, logits)


def answered(labels: Tensor, given: Tensor, broken: int = 0) -> ImageSet:
    images = torch.zeros(len(labels), 3, 2, 2, dtype=torch.uint8)
    images[:, 0, 0, 0] = given.byte()
    images[:broken, 0, 0, 1] = 1
    return ImageSet(images, labels)


def right(count: int, hits: int, classes: int = 10) -> ImageSet:
    """The first hits are right; wrong answers are spread over the other classes."""
    labels = torch.arange(count) % classes
    wrong = (labels + 1 + torch.arange(count) // classes % (classes - 1)) % classes
    return answered(labels, torch.where(torch.arange(count) < hits, labels, wrong))


@pytest.mark.parametrize(("count", "classes"), [(200, 10), (1000, 10), (200, 2), (37, 4)])
def test_the_boundary_of_chance_is_the_exact_one(count: int, classes: int) -> None:
    share = -(-count // classes) / count
    enough = next(hits for hits in range(count) if binomtest(hits, count, share, "greater").pvalue <= 0.01)
    assert asked("better_than_chance", subject(Answers(), right(count, enough, classes))).passed is True
    found = asked("better_than_chance", subject(Answers(), right(count, enough - 1, classes)))
    assert found.passed is False
    assert f"right on {100 * (enough - 1) / count:.1f} % of {count} images" in found.reason
    assert f"most frequent class on {100 * share:.1f} %: no better than chance" in found.reason


def test_a_model_that_names_one_class_is_called_constant() -> None:
    labels = torch.arange(200) % 10
    found = asked("better_than_chance", subject(Answers(), answered(labels, torch.full((200,), 3))))
    assert found.passed is False
    assert found.reason.startswith("It gives 100.0 % of the 200 images the class '3', so it is nearly constant")
    nearly = torch.where(torch.arange(200) < 8, labels, 7)
    found = asked("better_than_chance", subject(Answers(), answered(labels, nearly)))
    assert (found.passed, found.reason[:41]) == (False, "It gives 96.5 % of the 200 images the cla")


def test_where_one_class_is_frequent_naming_it_is_no_knowledge() -> None:
    labels = (torch.arange(200) >= 180).long()
    assert asked("better_than_chance", subject(Answers(), answered(labels, torch.zeros(200)))).passed is False
    assert asked("better_than_chance", subject(Answers(), answered(labels, labels))).passed is True


def test_too_few_images_tell_nothing() -> None:
    for labels in (torch.zeros(50, dtype=torch.long), torch.tensor([0, 1, 2])):
        found = asked("better_than_chance", subject(Answers(), answered(labels, labels)))
        assert found.passed is None
        assert "give more images of all classes" in found.reason


def test_logits_that_are_not_finite_are_refused_with_their_count() -> None:
    labels = torch.arange(200) % 10
    found = asked("better_than_chance", subject(Answers(), answered(labels, labels, broken=3)))
    assert found.passed is False
    assert found.reason.startswith("3 of 200 images get logits that are not finite")


@pytest.mark.parametrize(("count", "hits"), [(200, 186), (200, 200), (1000, 655), (50, 0)])
def test_the_interval_of_the_accuracy_is_that_of_clopper_and_pearson(count: int, hits: int) -> None:
    """With half a point for rounding; both ways, and the sentence says which."""
    ends = binomtest(hits, count).proportion_ci(0.95, "exact")
    for stated, passed, way in (
        (ends.low - 0.0051, False, "better than stated"),
        (ends.low - 0.0049, True, ""),
        (hits / count, True, ""),
        (ends.high + 0.0049, True, ""),
        (ends.high + 0.0051, False, "worse than stated"),
    ):
        found = asked("as_stated", subject(Answers(), right(count, hits), stated=stated))
        assert found.passed is passed, stated
        assert way in found.reason
        assert f"(95 % interval {100 * ends.low:.1f} to {100 * ends.high:.1f} %)" in found.reason


def test_nothing_stated_is_not_asked() -> None:
    found = asked("as_stated", subject(Answers(), right(200, 190), stated=math.nan))
    assert (found.passed, found.reason[:24]) == (None, "No accuracy was stated: ")


@pytest.mark.parametrize("truth", [0.6, 0.9, 0.97])
def test_a_true_statement_is_refused_as_rarely_as_the_interval_says(truth: float) -> None:
    """The exact rate over all outcomes of 200 images: below 5 %, since the interval is exact."""
    refused = [
        hits
        for hits in range(201)
        if binom.pmf(hits, 200, truth) > 1e-9
        and not asked("as_stated", subject(Answers(), right(200, hits), stated=truth)).passed
    ]
    assert 0 < float(binom.pmf(refused, 200, truth).sum()) < 0.05
