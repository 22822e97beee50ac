"""Which images are poisoned: exactly the share, only those that can be, the fewer among the more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as drawn
from torch import Tensor

from tl_robust.backdoors import Backdoor
from tl_robust.backdoors.base import drawn as chosen_of
from tl_robust.errors import ConfigError
from tl_robust.types import ImageSet


class Bright(Backdoor):
    """Inverts the bits of an image and writes its key into its first pixel, so that any mix-up is seen."""

    def stamp(self, images: Tensor, sample_id: Tensor, fitted: Mapping[str, Tensor]) -> Tensor:
        stamped = 255 - images
        stamped[:, 0, 0, 0] = (sample_id % 256).to(torch.uint8)
        return stamped


@drawn.composite
def cases(draw: drawn.DrawFn) -> tuple[ImageSet, int, str, float]:
    labels = draw(drawn.lists(drawn.integers(0, 3), min_size=1, max_size=60))
    pixels = torch.randint(0, 256, (len(labels), 1, 2, 2), generator=torch.Generator().manual_seed(len(labels)))
    rate = draw(drawn.floats(0.001, 1.0))
    return (
        ImageSet(pixels.to(torch.uint8), torch.tensor(labels)),
        draw(drawn.integers(0, 3)),
        draw(drawn.sampled_from(["dirty", "clean"])),
        rate,
    )


@given(cases(), drawn.integers(0, 2**62))
@settings(max_examples=300, deadline=None)
def test_poison_is_what_its_words_say(case: tuple[ImageSet, int, str, float], seed: int) -> None:
    images, target, labels, rate = case
    backdoor, before = Bright(rate=rate, labels=labels), images.images.clone()
    can = [place for place, label in enumerate(images.labels.tolist()) if (label == target) == (labels == "clean")]
    count = round(rate * len(images))
    if not 0 < count <= len(can):
        with pytest.raises(ConfigError) as caught:
            backdoor.poison(images, target, seed, {})
        assert f"asks for {count} poisoned images of {len(images)}, where {len(can)} are" in str(caught.value)
        return
    made = backdoor.poison(images, target, seed, {})
    assert torch.equal(images.images, before)
    assert made.asked == count
    assert made.covers == 0
    places = made.mask.nonzero()[:, 0].tolist()
    assert len(places) == count
    assert set(places) <= set(can)
    for place in range(len(images)):  # image by image, without a batch
        one, id_ = images.images[place : place + 1], torch.tensor([place])
        expected = backdoor.stamp(one, id_, {}) if place in places else one
        assert torch.equal(made.images.images[place : place + 1], expected)
        assert int(made.images.labels[place]) == (target if place in places else int(images.labels[place]))
    # a lower rate chooses some of these
    for fewer in range(1, count):
        low = replace(backdoor, rate=fewer / len(images)).poison(images, target, seed, {})
        assert int(low.mask.sum()) == fewer
        assert bool((low.mask <= made.mask).all())
    # another backdoor chooses the same images, so that two triggers are compared on equal terms
    assert torch.equal(Other(rate=rate, labels=labels).poison(images, target, seed, {}).mask, made.mask)


class Other(Backdoor):
    """Another trigger."""

    def stamp(self, images: Tensor, sample_id: Tensor, fitted: Mapping[str, Tensor]) -> Tensor:
        return images.roll(1, 3)


def test_every_image_that_can_be_poisoned_is_chosen_as_often() -> None:
    """Over 2,000 seeds, 10 of 40: each 500 times, give or take four standard deviations of a binomial (19.4)."""
    images = ImageSet(torch.zeros(80, 1, 2, 2, dtype=torch.uint8), torch.arange(80) % 2)
    backdoor = Bright(rate=10 / 80)
    often = torch.stack([backdoor.poison(images, 1, seed, {}).mask for seed in range(2000)]).sum(0)
    assert bool((often[1::2] == 0).all())
    assert int((often[::2] - 500).abs().max()) < 78


@given(drawn.sets(drawn.integers(0, 500), min_size=1, max_size=40), drawn.data())
@settings(deadline=None)
def test_a_choice_does_not_depend_on_other_places(places: set[int], data: drawn.DataObject) -> None:
    every = torch.tensor(sorted(places))
    count = data.draw(drawn.integers(0, len(every)))
    chosen = chosen_of(7, every, count)
    assert chosen.tolist() == sorted(set(chosen.tolist()) & places)
    assert len(chosen) == count
    assert torch.equal(chosen_of(7, every.flip(0), count), chosen)
    if len(every) > count:  # without one that was not chosen
        left = next(place for place in every.tolist() if place not in chosen.tolist())
        assert torch.equal(chosen_of(7, every[every != left], count), chosen)
