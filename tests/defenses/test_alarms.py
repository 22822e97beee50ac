"""STRIP and Neural Cleanse against loops, closed forms and triggers that were planted by hand."""

from __future__ import annotations

import math
import statistics

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tl_robust import defenses
from tl_robust.attacks.through import THROUGH
from tl_robust.defenses.neural_cleanse import Watched, anomaly, flagged
from tl_robust.errors import ConfigError
from tl_robust.types import ImageSet

SHAPE = (1, 6, 6)
DRAWS = torch.Generator().manual_seed(8)
IMAGES = torch.randint(0, 256, (120, *SHAPE), generator=DRAWS, dtype=torch.uint8)
SET = ImageSet(IMAGES, torch.zeros(120, dtype=torch.int64))
PIXELS = IMAGES.double() / 255


def linear(classes: int = 4, scale: float = 1.0) -> nn.Sequential:
    torch.manual_seed(1)
    network = nn.Sequential(nn.Flatten(), nn.Linear(36, classes)).double().eval()
    with torch.no_grad():
        network[1].weight.mul_(scale)
    return network


def by_hand(network: nn.Module, image: Tensor, overlays: Tensor, mix: str) -> float:
    """Mean entropy in bits over the overlays, number by number."""
    total = 0.0
    for overlay in overlays:
        both = [
            min(float(x) + float(y), 1.0) if mix == "add" else (float(x) + float(y)) / 2
            for x, y in zip(image.flatten(), overlay.flatten(), strict=True)
        ]
        with torch.no_grad():
            logits = network(torch.tensor(both, dtype=torch.float64).view(1, *SHAPE))[0]
        exponents = [math.exp(float(logit)) for logit in logits]
        shares = [value / sum(exponents) for value in exponents]
        total -= sum(share * math.log2(share) for share in shares)
    return total / len(overlays)


@pytest.mark.parametrize("mix", ["add", "mean"])
def test_entropies_are_those_of_a_loop(mix: str) -> None:
    network, defense = linear(), defenses.parse(f"strip(overlays=5, mix={mix})")
    fitted = defense.fit(network, SET, 3)
    guard = defense.wrap(network, fitted)
    assert fitted["overlays"].shape == (5, *SHAPE)
    expected = [by_hand(network, image, fitted["overlays"].double() / 255, mix) for image in PIXELS[:6]]
    assert torch.allclose(guard.entropy(PIXELS[:6]), torch.tensor(expected, dtype=torch.float64), rtol=1e-10)
    assert torch.equal(guard.suspicion(PIXELS[:6]), -guard.entropy(PIXELS[:6]))


@pytest.mark.parametrize("share", [0.05, 0.2])
def test_of_the_images_that_it_is_fitted_on_this_share_is_refused(share: float) -> None:
    network, defense = linear(scale=5), defenses.parse(f"strip(overlays=20, false_alarms={share})")
    fitted = defense.fit(network, SET, 3)
    overlays = {tuple(image.flatten().tolist()) for image in fitted["overlays"]}
    rest = [place for place in range(120) if tuple(IMAGES[place].flatten().tolist()) not in overlays]
    assert len(rest) == 100  # an overlay is no image that the threshold is fitted on
    guard = defense.wrap(network, fitted)
    assert guard.rejects
    logits = guard(PIXELS)
    refused = logits.argmax(1) == 4
    assert int(refused[rest].sum()) == round(100 * share)
    assert torch.equal(refused, guard.entropy(PIXELS) < fitted["threshold"])
    assert torch.equal(logits[:, :4], network(PIXELS))
    assert guard.entropy(PIXELS[refused]).max() < guard.entropy(PIXELS[~refused]).min()


def test_other_seeds_draw_other_overlays() -> None:
    defense = defenses.parse("strip")
    first, again, other = (defense.fit(linear(), SET, seed)["overlays"] for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


class Planted(nn.Module):
    """Says the class of the brightest row, and class 0 where a pixel in a corner is white."""

    def __init__(self, strength: float) -> None:
        super().__init__()
        self.strength = strength

    def forward(self, images: Tensor) -> Tensor:
        logits = 4 * images.mean((1, 3))
        return torch.cat([logits[:, :1] + self.strength * (images[:, 0, 5, 5:] - 0.99).relu(), logits[:, 1:]], 1)


def test_an_image_with_a_planted_trigger_is_refused_and_a_clean_one_is_not() -> None:
    dark = (IMAGES.double() * 0.4).to(torch.uint8)
    network, defense = Planted(1e4), defenses.parse("strip")
    guard = defense.wrap(network, defense.fit(network, ImageSet(dark, SET.labels), 3))
    stamped = dark.double() / 255
    stamped[:, :, 5, 5] = 1
    assert bool((network(stamped).argmax(1) == 0).all())
    assert bool((guard(stamped).argmax(1) == 6).all())
    assert float((guard(dark.double() / 255).argmax(1) == 6).double().mean()) <= 0.08


def test_the_gradient_of_a_refusal_goes_through_all_overlays() -> None:
    network, defense = linear(), defenses.parse("strip(overlays=3, mix=mean)")
    guard = defense.wrap(network, defense.fit(network, SET, 3))
    image = PIXELS[:1].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(guard(image)[0, -1], image)
    step = torch.zeros_like(image)
    for place in (0, 17, 35):
        step.zero_()
        step.view(-1)[place] = 1e-6
        with torch.no_grad():
            slope = float(guard(image + step)[0, -1] - guard(image - step)[0, -1]) / 2e-6
        assert float(gradient.view(-1)[place]) == pytest.approx(slope, rel=1e-5)


def test_around_a_guard_that_rounds_the_way_through_it_reaches_the_refusal() -> None:
    both = defenses.parse("squeeze(bits=1) + strip(overlays=3)")
    network = linear()
    guard = both.wrap(network, both.fit(network, SET, 3))
    image = PIXELS[:1].clone().requires_grad_()
    assert not torch.autograd.grad(guard(image)[0, -1], image)[0].any()
    logits = THROUGH.parse("straight_through").of(guard)(image)
    assert torch.equal(logits, guard(image))
    (gradient,) = torch.autograd.grad(logits[0, -1] - logits[0, :-1].amax(), image)
    assert gradient.any()


def test_two_that_refuse_have_one_refusal() -> None:
    network = linear(scale=5)
    one, other = defenses.parse("strip(overlays=20)"), defenses.parse("strip(overlays=20, mix=mean)")
    inner = one.wrap(network, one.fit(network, SET, 3))
    outer = other.wrap(inner, other.fit(inner, SET, 4))
    refused = outer(PIXELS).argmax(1) == 4
    assert outer(PIXELS).shape == (120, 5)
    alone = other.wrap(network, other.fit(inner, SET, 4))
    assert torch.equal(refused, (inner(PIXELS).argmax(1) == 4) | (alone(PIXELS).argmax(1) == 4))
    assert bool(refused.any())


def test_what_strip_cannot_do_is_one_sentence() -> None:
    for wrong in ("mix=max", "overlays=0", "false_alarms=1"):
        with pytest.raises(ConfigError, match="strip"):
            defenses.parse(f"strip({wrong})")
    with pytest.raises(ConfigError, match=r"needs 20 held-out images beside 24 overlays, got 30 in all: raise"):
        defenses.parse("strip").fit(linear(), SET.take(torch.arange(30)), 3)
    quiet = defenses.parse("strip(false_alarms=0)")
    guard = quiet.wrap(linear(), quiet.fit(linear(), SET, 3))
    assert not guard.rejects
    assert torch.equal(guard(PIXELS), linear()(PIXELS))
    assert bool((guard.suspicion(PIXELS) < 0).all())


# Neural Cleanse


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0.1, 1e4), min_size=3, max_size=12))
def test_the_index_is_that_of_a_loop(norms: list[float]) -> None:
    middle = statistics.median(norms)
    spread = 1.4826 * statistics.median([abs(norm - middle) for norm in norms])
    found = anomaly(torch.tensor(norms))
    for place, norm in enumerate(torch.tensor(norms).double().tolist()):
        if spread > 1e-3:
            assert float(found[place]) == pytest.approx(abs(norm - middle) / spread, rel=1e-3, abs=1e-3)


def test_only_the_smallest_mask_is_flagged_and_only_above_2() -> None:
    usual = [20.0, 21, 22, 23, 24, 25, 26, 27, 28]
    norms = torch.tensor([*usual, 5.0])
    assert int(flagged(norms, anomaly(norms))) == 9
    large = torch.tensor([*usual, 80.0])
    assert float(anomaly(large)[9]) > 2
    assert int(flagged(large, anomaly(large))) == -1
    assert int(flagged(torch.tensor(usual), anomaly(torch.tensor(usual)))) == -1


NORMS = st.lists(st.floats(0.1, 1e4), min_size=1, max_size=12)


@settings(max_examples=50, deadline=None)
@given(NORMS)
def test_the_size_is_the_median_over_the_smallest_norm(norms: list[float]) -> None:
    norms = torch.tensor(norms).double().tolist()
    ordered, half = sorted(norms), len(norms) // 2
    middle = ordered[half] if len(norms) % 2 else (ordered[half - 1] + ordered[half]) / 2
    fitted = {"norms": torch.tensor(norms), "index": torch.full((len(norms),), -1.0)}
    said = Watched(linear(), fitted, "size").suspicion(PIXELS[:3])
    assert said.tolist() == pytest.approx([middle / ordered[0]] * 3)
    assert middle / ordered[0] >= 1


def test_a_smaller_mask_is_more_suspicious_by_size_also_where_masks_vary_much() -> None:
    """Where the nine others are far apart, the same small mask has an index below 2 and is still half as large."""
    apart, near = [10.0, 14, 18, 22, 26, 30, 34, 38, 42], [26.0] * 4 + [24, 25, 27, 28, 29]

    def said(norms: list[float], measure: str) -> float:
        found = torch.tensor(norms)
        guard = Watched(linear(), {"norms": found, "index": anomaly(found)}, measure)
        return float(guard.suspicion(PIXELS[:1]))

    assert said([*apart, 5.0], "index") < 2 < said([*near, 20.0], "index")
    assert said([*apart, 5.0], "size") > 4 > 2 > said([*near, 20.0], "size")


def planted(pixel: int | None, classes: int = 8, target: int = 3) -> nn.Module:
    """A linear model; one pixel, where images are dark, speaks for the class t alone and loudly."""
    network = linear(classes, scale=2.0)
    if pixel is not None:
        with torch.no_grad():
            network[1].weight[:, pixel] = 0
            network[1].weight[target, pixel] = 60
    return network


def test_it_finds_class_and_place_of_a_planted_pixel() -> None:
    dark = IMAGES.clone()
    dark[:, 0, 4, 2] = 0
    images, defense = ImageSet(dark, SET.labels), defenses.parse("neural_cleanse")
    fitted = defense.fit(planted(4 * 6 + 2), images, 5)
    assert int(fitted["flagged"]) == 3
    assert float(fitted["index"][3]) > 2
    assert int(fitted["norms"].argmin()) == 3
    mask = fitted["masks"][3]
    assert mask.shape == (6, 6)
    assert int(mask.argmax()) == 4 * 6 + 2
    assert float(mask[4, 2]) > 0.5 * float(mask.sum())
    assert float(fitted["norms"][3]) < 2 < 0.3 * float(fitted["norms"].median())
    stamped = (1 - mask) * (dark / 255).double() + mask * fitted["patterns"][3]
    assert float((planted(26)(stamped).argmax(1) == 3).double().mean()) > 0.9
    assert torch.allclose(fitted["norms"], fitted["masks"].sum((1, 2)))


def test_it_changes_no_answer_and_suspects_the_model_as_a_whole() -> None:
    network, defense = linear(6), defenses.parse("neural_cleanse(steps=10)")
    torch.manual_seed(0)
    before = torch.get_rng_state()
    fitted = defense.fit(network, SET, 5)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(weight.requires_grad and weight.grad is None for weight in network.parameters())
    guard = defense.wrap(network, fitted)
    assert not guard.rejects
    assert torch.equal(guard(PIXELS), network(PIXELS))
    suspicion = guard.suspicion(PIXELS)
    assert suspicion.shape == (120,)
    assert set(suspicion.tolist()) == {float(fitted["index"][fitted["norms"].argmin()])}
    by_size = defenses.parse("neural_cleanse(steps=10, measure=size)")
    found = by_size.fit(network, SET, 5)
    assert all(torch.equal(found[name], value) for name, value in fitted.items())
    middle = statistics.median(fitted["norms"].tolist()) / min(fitted["norms"].tolist())
    assert by_size.wrap(network, found).suspicion(PIXELS).tolist() == pytest.approx([middle] * 120)
    again = defense.fit(network, SET, 5)
    assert all(torch.equal(again[name], value) for name, value in fitted.items())
    assert not torch.equal(defense.fit(network, SET, 6)["masks"], fitted["masks"])


def test_many_classes_are_sought_in_groups_and_refusals_are_no_class() -> None:
    fitted = defenses.parse("neural_cleanse(steps=1, batch=48)").fit(linear(23), SET, 5)
    assert fitted["masks"].shape == (23, 6, 6)
    guard = defenses.parse("strip").wrap(linear(4), defenses.parse("strip").fit(linear(4), SET, 3))
    assert len(defenses.parse("neural_cleanse(steps=1)").fit(guard, SET, 5)["norms"]) == 4
    with pytest.raises(ConfigError, match="'measure' of neural_cleanse must be index or size, got 'norm'"):
        defenses.parse("neural_cleanse(measure=norm)")
    with pytest.raises(ConfigError, match="steps and batch from 1"):
        defenses.parse("neural_cleanse(steps=0)")
