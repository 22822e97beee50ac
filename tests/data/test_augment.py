"""Augmentations: against a loop over images, and the same however the samples are cut into batches."""

import pytest
import torch
from torch import Tensor

from tl_robust.data.augment import AUGMENTATIONS, augment
from tl_robust.errors import UnknownNameError
from tl_robust.seeding import derive, generator, uniform

RANDOM = sorted(set(AUGMENTATIONS) - {"none"})


def made(count: int, channels: int = 3, height: int = 32, width: int = 32) -> Tensor:
    shape = (count, channels, height, width)
    return torch.randint(1, 256, shape, generator=generator("made", shape), dtype=torch.uint8)


def one_by_one(name: str, pixels: Tensor, sample_id: Tensor, seed: int, epoch: int) -> Tensor:
    draws = uniform(derive("augment", seed), sample_id, (3,), stream=epoch).double()
    changed = []
    for image, (top, left, mirror) in zip(pixels, draws.tolist(), strict=True):
        _, height, width = image.shape
        canvas = torch.zeros(len(image), height + 8, width + 8, dtype=torch.uint8)
        canvas[:, 4 : 4 + height, 4 : 4 + width] = image
        y, x = int(top * 9), int(left * 9)
        part = canvas[:, y : y + height, x : x + width]
        changed.append(part.flip(2) if name == "crop_flip" and mirror >= 0.5 else part)
    return torch.stack(changed)


@pytest.mark.parametrize("name", RANDOM)
@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 28), (3, 5, 9), (1, 1, 1)], ids=str)
def test_all_at_once_is_one_by_one(name: str, shape: tuple[int, int, int]) -> None:
    pixels = made(300, *shape)
    ids = torch.randperm(5000, generator=generator("ids"))[:300]
    before = pixels.clone()
    found = augment(name, pixels, ids, 7, 3)
    assert found.dtype == torch.uint8
    assert found.is_contiguous()
    assert torch.equal(found, one_by_one(name, pixels, ids, 7, 3))
    assert torch.equal(pixels, before)


def test_none_changes_nothing() -> None:
    pixels = made(5)
    assert augment("none", pixels, torch.arange(5), 1, 2) is pixels


@pytest.mark.parametrize("name", RANDOM)
def test_a_sample_is_changed_alike_in_any_batch_and_order(name: str) -> None:
    pixels, ids = made(50), torch.arange(100, 150)
    whole = augment(name, pixels, ids, 1, 0)
    order = torch.randperm(50, generator=generator("order"))
    parts = [augment(name, pixels[part], ids[part], 1, 0) for part in order.split(7)]
    assert torch.equal(torch.cat(parts), whole[order])


@pytest.mark.parametrize("name", RANDOM)
def test_epochs_seeds_and_samples_differ(name: str) -> None:
    pixels, ids = made(1).expand(64, -1, -1, -1), torch.arange(64)
    first = augment(name, pixels, ids, 1, 0)
    assert (first != first[:1]).flatten(1).any(1).sum() > 50
    for other in (augment(name, pixels, ids, 1, 1), augment(name, pixels, ids, 2, 0)):
        assert (first != other).flatten(1).any(1).sum() > 50


def test_each_place_and_side_is_as_likely() -> None:
    marked = torch.zeros(1, 1, 32, 32, dtype=torch.uint8)
    marked[0, 0, 16, 10] = 1  # where it ends tells top, left and side: left of the middle wherever it is not mirrored
    count = 81 * 2 * 200
    found = augment("crop_flip", marked.expand(count, -1, -1, -1), torch.arange(count), 3, 0)
    _, _, y, x = found.nonzero().unbind(1)
    assert len(y) == count
    places = torch.stack([y - 12, torch.where(x < 16, x - 6, 25 - x), (x >= 16).long()], 1)
    assert places.min() == 0
    assert places.max(0).values.tolist() == [8, 8, 1]
    counts = (places[:, 0] * 18 + places[:, 1] * 2 + places[:, 2]).bincount(minlength=162)
    chi_square = float(((counts - 200) ** 2 / 200).sum())
    assert 100 < chi_square < 236  # 161 degrees of freedom: outside with chance 1e-4


def test_no_images_are_no_images() -> None:
    assert augment("crop_flip", made(0), torch.arange(0), 1, 0).shape == (0, 3, 32, 32)


def test_an_unknown_name_is_an_error_with_the_closest() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown augmentation 'crop_flp'; did you mean 'crop_flip'\?"):
        augment("crop_flp", made(1), torch.arange(1), 1, 0)
