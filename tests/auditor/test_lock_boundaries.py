"""Where locks begin to fail, exactly: with answers that are written into images, and weights written by hand."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor, nn

from tests.auditor.locks_made import MEAN, STD, Plain, asked, subject
from tests.auditor.test_lock_of_accuracy import Answers, answered
from tl_robust.auditor.locks.alternatives import alternatives
from tl_robust.models.base import Normalize
from tl_robust.types import ImageSet


class Red(nn.Module):
    """Names the class that stands in the red channel, so that one that is given blue first names that in the blue."""

    def forward(self, images: Tensor) -> Tensor:
        codes = (images[:, 0, 0, 0] * 255).round().clamp(0, 10).long()
        return nn.functional.one_hot(codes, 11)[:, :10].float() + torch.linspace(0, 0.1, 10)


def both(count: int, right: int, won: int, lost: int) -> ImageSet:
    """Images that are named rightly by red first; of the others some by blue first, which loses some of the right."""
    labels = torch.arange(count) % 9
    place = torch.arange(count)
    red = torch.where(place < right, labels, 10)
    blue = torch.where((place >= lost) & (place < right + won), labels, 10)
    images = torch.full((count, 3, 2, 2), 10, dtype=torch.uint8)
    images[:, 0], images[:, 2] = red.byte()[:, None, None], blue.byte()[:, None, None]
    return ImageSet(images, labels)


@pytest.mark.parametrize(
    ("count", "right", "won", "lost", "passed"),
    [
        (200, 190, 10, 0, False),  # p = 0.001 for each of eight alternatives
        (500, 440, 25, 0, False),  # five points, and more than a third of the wrong ones
        (500, 440, 24, 0, True),
        (200, 190, 10, 1, True),
        (200, 100, 34, 0, False),  # a third of the wrong ones
        (200, 100, 33, 0, True),
        (200, 100, 34, 1, True),
        (200, 100, 60, 20, False),
        (100, 92, 8, 0, True),  # p = 0.004 alone, 0.03 of eight
        (400, 300, 100, 66, True),  # p = 0.005 alone, 0.04 of eight
    ],
)
def test_an_alternative_counts_from_this_gain_on(count: int, right: int, won: int, lost: int, passed: bool) -> None:
    images = both(count, right, won, lost)
    assert len(alternatives(Red(), images.images)) == 8
    found = asked("preprocessing", subject(Red(), images))
    assert found.passed is passed, found
    if not passed:
        better = (right + won - lost) / count
        assert f"right on {100 * better:.1f} % of {count} images with blue, green, red in place of red" in found.reason


@pytest.mark.parametrize(("count", "passed"), [(3, True), (4, False), (10, False)])
def test_an_order_of_classes_counts_from_seven_images_on(count: int, passed: bool) -> None:
    """Two classes of ten in each other's place, with so many images each: 0.5 ** 7 is below 1 %."""
    labels = torch.arange(10 * count) % 10
    swapped = torch.arange(10)
    swapped[[3, 8]] = torch.tensor([8, 3])
    found = asked("class_order", subject(Answers(), answered(labels, swapped[labels])))
    assert found.passed is passed, found


class Blind(Plain):
    """Gives all images the class 0, so that its last layer is asked for its weights."""

    def forward(self, images: Tensor) -> Tensor:
        return nn.functional.one_hot(torch.zeros(len(images), dtype=torch.long), 10).float()


@pytest.fixture
def blind() -> Blind:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Blind(Normalize(MEAN, STD))


def test_one_weight_over_the_bound_tells_a_trained_layer(blind: Blind) -> None:
    bound = 1 / math.sqrt(128)
    assert asked("head_is_trained", subject(blind)).passed is False
    for name in ("weight", "bias"):
        moved = copy.deepcopy(blind)
        with torch.no_grad():
            getattr(moved.classifier, name).view(-1)[0] = 1.01 * bound
        assert asked("head_is_trained", subject(moved)).passed is True, name


def test_a_bias_that_moved_tells_a_trained_layer(blind: Blind) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        nn.init.normal_(blind.classifier.weight, 0, 0.02)
    nn.init.zeros_(blind.classifier.bias)
    assert asked("head_is_trained", subject(blind)).passed is False
    with torch.no_grad():
        blind.classifier.bias[3] = 1e-3
    assert asked("head_is_trained", subject(blind)).passed is True
