"""Test images among the training images are found: pixel by pixel, saved anew, or brighter; others are not."""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from tests.auditor.locks_made import asked, digits, subject
from tl_robust.auditor.locks.duplicates import copies
from tl_robust.data.domain import DOMAINS
from tl_robust.types import ImageSet


def saved(images: Tensor, quality: int) -> Tensor:
    """As JPEG."""
    parts = []
    for image in images:
        pixels = image.permute(1, 2, 0).contiguous().numpy()
        file = io.BytesIO()
        Image.fromarray(pixels[..., 0] if len(image) == 1 else pixels).save(file, "JPEG", quality=quality)
        parts.append(torch.from_numpy(np.array(Image.open(file)).reshape(pixels.shape)).permute(2, 0, 1))
    return torch.stack(parts)


@cache
def data(name: str) -> tuple[ImageSet, ImageSet]:
    domain = DOMAINS[name]()  # type: ignore[call-arg]
    return tuple(domain.read(split, Path(), False) for split in ("train", "test"))  # type: ignore[return-value]


def brighter(images: Tensor, by: int) -> Tensor:
    return (images.int() + by).clamp(0, 255).byte()


KINDS = {
    "JPEG 90": lambda images: saved(images, 90),
    "JPEG 75": lambda images: saved(images, 75),
    "one brighter": lambda images: brighter(images, 1),
    "two darker": lambda images: brighter(images, -2),
}


@pytest.mark.parametrize("name", ["optdigits", "mnist5k", "rendered_print"])
@pytest.mark.parametrize("kind", KINDS)
def test_near_copies_are_found_with_their_originals(name: str, kind: str) -> None:
    """Of 200 at least 19 in 20, whichever of the two was saved anew."""
    train, test = data(name)
    some = test.images[:200]
    for images, others in ((some, KINDS[kind](some)), (KINDS[kind](some), some)):
        found = copies(images, torch.cat([train.images, others])).found
        right = found == len(train) + torch.arange(200)
        assert float(right.double().mean()) >= 0.95, float(right.double().mean())


@pytest.mark.parametrize("name", ["optdigits", "mnist5k", "rendered_print", "rendered_syn"])
def test_real_splits_have_next_to_none(name: str) -> None:
    """Where ours are without repetition; at most 1 in 300, and below what fails."""
    train, test = data(name)
    found = copies(test.images, train.images)
    assert int((found.exact >= 0).sum()) == 0
    assert float((found.near >= 0).double().mean()) <= 1 / 300
    assert asked("not_in_training", subject(nn.Identity(), test, train=train)).passed is True


def test_digits_that_look_alike_are_no_copies() -> None:
    """Small ones in color, which JPEG changes by more than many of a class differ: but then many are as close."""
    train, test = digits(16)
    assert int((copies(test.images, train.images).found >= 0).sum()) <= 1


@pytest.mark.parametrize("kind", ["exact", "JPEG 75"])
def test_it_fails_from_one_percent_on_and_names_the_images(kind: str) -> None:
    train, test = data("mnist5k")
    test = test.take(torch.arange(400))
    for count, passed in ((3, True), (4, False), (40, False)):
        leaked = test.images[100 : 100 + count]
        leaked = leaked if kind == "exact" else KINDS[kind](leaked)
        leaky = ImageSet(torch.cat([train.images, leaked]), torch.cat([train.labels, test.labels[:count]]))
        found = asked("not_in_training", subject(nn.Identity(), test, train=leaky))
        assert found.passed is passed, count
        numbers = (
            f"{count} of them pixel by pixel and 0" if kind == "exact" else f"0 of them pixel by pixel and {count}"
        )
        assert f"{count} of 400 test images ({count / 4:.1f} %) are among the {4000 + count} training" in found.reason
        assert numbers in found.reason
        assert "no. 100 is no. 4000, no. 101 is no. 4001, no. 102 is no. 4002" in found.reason


def test_equal_pixels_are_found_as_a_naive_loop_finds_them() -> None:
    draw = torch.Generator().manual_seed(0)
    images, others = (torch.randint(0, 2, (300, 1, 2, 3), generator=draw).byte() for _ in range(2))
    naive = [next((place for place, other in enumerate(others) if torch.equal(image, other)), -1) for image in images]
    assert copies(images, others).exact.tolist() == naive
    assert -1 in naive


def _sized(images: Tensor, side: int) -> Tensor:
    return nn.functional.interpolate(images.float(), size=(side, side), mode="bilinear", antialias=True).byte()


def test_images_of_another_size_or_in_color_are_compared_too() -> None:
    train, test = data("mnist5k")
    leaky = torch.cat([train.images, test.images[:100]])
    found = copies(_sized(test.images[:100], 128), _sized(leaky, 112))
    assert int((found.exact >= 0).sum()) == 0
    assert float((found.near == 4000 + torch.arange(100)).double().mean()) > 0.95
    colored = test.images[:100].expand(-1, 3, -1, -1)
    assert float((copies(colored, leaky).near == 4000 + torch.arange(100)).double().mean()) > 0.95


def test_images_of_one_color_and_single_images_say_nothing() -> None:
    flat = torch.full((5, 3, 8, 8), 7, dtype=torch.uint8)
    assert copies(flat, flat + 1).found.tolist() == [-1] * 5
    assert copies(flat, flat).exact.tolist() == [0] * 5
    train, test = data("mnist5k")
    assert copies(test.images[:3], train.images[:1]).found.tolist() == [-1] * 3


def test_no_training_images_are_not_asked() -> None:
    found = asked("not_in_training", subject(nn.Identity(), data("mnist5k")[1]))
    assert (found.passed, found.reason[:34]) == (None, "No training images were given: giv")
