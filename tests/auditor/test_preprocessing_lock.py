"""Images that are prepared otherwise than in training: found by asking, and by the owner's own logits."""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from tests.auditor.locks_made import MEAN, NAMES, STD, Plain, asked, digits, prepared, subject, train
from tl_robust.auditor.locks.alternatives import USUAL, alternatives, preparing
from tl_robust.auditor.locks.alternatives import asked as answers
from tl_robust.auditor.subject import ReadModel
from tl_robust.models.base import Normalize
from tl_robust.models.features import logits
from tl_robust.types import ImageSet

IMAGENET = USUAL["ImageNet's mean and standard deviation"]
HALF = USUAL["mean 0.5 and standard deviation 0.5"]
NONE = USUAL["no normalization"]


class Reversed(nn.Module):
    """Blue, green, red, then a normalization."""

    def __init__(self) -> None:
        super().__init__()
        self.normalize = Normalize(*IMAGENET)

    def forward(self, images: Tensor) -> Tensor:
        normalized: Tensor = self.normalize(images).flip(1)
        return normalized


@pytest.fixture(scope="module")
def learned() -> Callable[[str], nn.Module]:
    """Networks by what they were trained with."""
    firsts: dict[str, Callable[[], nn.Module]] = {
        "own": lambda: Normalize(MEAN, STD),
        "imagenet": lambda: Normalize(*IMAGENET),
        "half": lambda: Normalize(*HALF),
        "none": lambda: Normalize(*NONE),
        "bytes": lambda: Normalize(NONE[0], (1 / 255,) * 3),
        "whole": lambda: prepared(resize=(16, 16)),
        "cropped": lambda: prepared(resize=(18,), crop=(16, 16)),
    }
    made: dict[str, nn.Module] = {}

    def network(name: str) -> nn.Module:
        if name not in made:
            made[name] = train(Plain(firsts[name]()))
        return copy.deepcopy(made[name])

    return network


SABOTAGES = {  # what was learned, what the files say, and what the reason names
    "another mean": ("imagenet", lambda: Normalize(MEAN, IMAGENET[1]), "with ImageNet's mean and standard deviation"),
    "half for ImageNet": ("imagenet", lambda: Normalize(*HALF), "with ImageNet's mean and standard deviation"),
    "ImageNet for half": ("half", lambda: Normalize(*IMAGENET), "with mean 0.5 and standard deviation 0.5"),
    "no normalization": ("imagenet", lambda: Normalize(*NONE), "with ImageNet's mean and standard deviation"),
    "no standard deviation": ("half", lambda: Normalize(HALF[0], NONE[1]), "with mean 0.5 and standard deviation 0.5"),
    "0 to 255": ("none", lambda: Normalize(NONE[0], (1 / 255,) * 3), "with no normalization"),
    "0 to 1": ("bytes", lambda: Normalize(*NONE), "with values of 0 to 255 without normalization"),
    "a normalization too many": ("none", lambda: Normalize(*IMAGENET), "with no normalization"),
    "cropped far": ("whole", lambda: prepared(resize=(28,), crop=(16, 16)), "with the whole image resized to 16x16"),
}


@pytest.mark.parametrize("sabotage", SABOTAGES)
def test_a_wrong_preparation_is_refused_and_the_right_one_named(
    learned: Callable[[str], nn.Module], sabotage: str
) -> None:
    name, wrong, says = SABOTAGES[sabotage]
    network = learned(name)
    good = subject(network)
    assert asked("preprocessing", good).passed is True
    network.first = wrong()
    bad = subject(network)
    found = asked("preprocessing", bad)
    assert found.passed is False, (good.accuracy, bad.accuracy)
    assert says in found.reason
    assert f"on {100 * bad.accuracy:.1f} % with " in found.reason
    assert found.reason.endswith(": correct what its files say of preprocessing.")
    assert good.accuracy > 0.9


def test_channels_in_the_wrong_order_are_named() -> None:
    network = train(Plain(Reversed()))
    assert asked("preprocessing", subject(network)).passed is True
    network.first = Normalize(*IMAGENET)
    found = asked("preprocessing", subject(network))
    assert found.passed is False
    assert "with blue, green, red in place of red, green, blue" in found.reason


@pytest.mark.parametrize("own", ["parent", "decoys"])
def test_the_steps_of_parent_and_decoys_are_tried(learned: Callable[[str], nn.Module], own: str) -> None:
    network, other = learned("own"), ReadModel("resnet of someone", learned("own"), NAMES)
    network.first = Normalize(*NONE)
    found = asked("preprocessing", subject(network, **{own: other if own == "parent" else (other,)}))
    assert found.passed is False
    assert "with the mean and standard deviation of resnet of someone, and on" in found.reason


def test_a_network_without_a_layer_for_it_is_asked_about_its_images() -> None:
    """One that takes images as they are, and was trained with normalized ones."""
    network = train(Plain(Normalize(*IMAGENET)))
    network.first = nn.Identity()
    assert preparing(network) is None
    found = asked("preprocessing", subject(network))
    assert found.passed is False
    assert "with ImageNet's mean and standard deviation, and on" in found.reason
    assert "with its images as they are" in found.reason


def test_an_alternative_is_what_a_network_with_it_says(learned: Callable[[str], nn.Module]) -> None:
    """Each but the crop that is named otherwise: the same logits as with the first layer replaced, to the last bit."""
    images = digits()[1].images[:50]
    network = learned("whole")
    tried = {alternative.name: alternative for alternative in alternatives(network, images)}
    by_hand = {
        "ImageNet's mean and standard deviation": prepared(resize=(16, 16), mean=IMAGENET[0], std=IMAGENET[1]),
        "no normalization": prepared(resize=(16, 16), mean=NONE[0], std=NONE[1]),
        "values of 0 to 255 before its normalization": prepared(
            resize=(16, 16), mean=tuple(m / 255 for m in MEAN), std=tuple(s / 255 for s in STD)
        ),
        "the shorter side resized to 18 and cropped": prepared(resize=(18,), crop=(16, 16)),
    }
    for name, layer in by_hand.items():
        changed = copy.deepcopy(network)
        changed.first = layer
        assert torch.allclose(answers(network, tried[name], images), logits(changed, images), atol=1e-3), name
    bgr = answers(network, tried["blue, green, red in place of red, green, blue"], images)
    assert torch.allclose(bgr, logits(network, images.flip(1)), atol=1e-5)


def test_alternatives_differ_from_the_networks_own_and_from_each_other(learned: Callable[[str], nn.Module]) -> None:
    images = digits()[1].images[:50]
    for name, lacks in (("imagenet", "ImageNet's"), ("half", "mean 0.5 and"), ("none", "no normalization")):
        tried = alternatives(learned(name), images, [("twin", learned(name))])
        assert not any(alternative.name.startswith(lacks) or "twin" in alternative.name for alternative in tried)
        said = [answers(learned(name), alternative, images) for alternative in tried]
        assert not any(torch.equal(one, other) for one, other in pairwise(said))
        assert len(tried) >= 8
    assert len({a.name for a in alternatives(learned("whole"), images)}) >= 10


def test_the_network_is_left_as_it_was(learned: Callable[[str], nn.Module]) -> None:
    network = learned("imagenet")
    network.first = Normalize(*NONE)
    network.train()
    before, first = copy.deepcopy(network.state_dict()), network.first
    state = torch.random.get_rng_state()
    assert asked("preprocessing", subject(network)).passed is False
    assert network.training
    assert network.first is first
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert torch.equal(state, torch.random.get_rng_state())


def test_gray_images_have_alternatives_of_one_channel() -> None:
    data = [ImageSet(part.images[:, :1], part.labels) for part in digits()]
    network = Plain(Normalize((0.5,), (0.5,)))
    network.body[0] = nn.Conv2d(1, 16, 3, 2, 1)
    train(network, data[0])
    some = data[1].take(torch.arange(200))
    assert asked("preprocessing", subject(network, some)).passed is True
    network.first = Normalize((0.0,), (1 / 255,))
    found = asked("preprocessing", subject(network, some))
    assert found.passed is False
    assert "with mean 0.5 and standard deviation 0.5, and on" in found.reason


# the owner's own logits


def test_the_owners_logits_decide_where_they_are_given(learned: Callable[[str], nn.Module]) -> None:
    network = learned("imagenet")
    truth = logits(network, digits()[1].images[:16])
    spread = float(truth.std())
    for difference, passed in ((0.0, True), (0.09, True), (0.11, False)):
        given = truth.clone()
        given[3, 2] += difference * spread
        found = asked("preprocessing", subject(network, reference=given))
        assert found.passed is passed, difference
    network.first = Normalize(*HALF)
    found = asked("preprocessing", subject(network, reference=truth))
    assert found.passed is False
    assert "with ImageNet's mean and standard deviation they differ by " in found.reason
    network.classifier.bias.data += 3
    found = asked("preprocessing", subject(network, reference=truth))
    assert found.passed is False
    assert "they differ by" not in found.reason


def test_a_reference_that_does_not_fit_is_refused_with_both_shapes(learned: Callable[[str], nn.Module]) -> None:
    network = learned("imagenet")
    for bad in (torch.zeros(16, 9), torch.zeros(201, 10), torch.zeros(0, 10)):
        found = asked("preprocessing", subject(network, reference=bad))
        assert found.passed is False
        assert str(list(bad.shape)) in found.reason
    broken = torch.full((16, 10), torch.nan)
    assert "not finite" in asked("preprocessing", subject(network, reference=broken)).reason
