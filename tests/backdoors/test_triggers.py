"""What each trigger does to pixels, beside a naive loop, a closed form or another library."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates
from torch import Tensor, nn

from tl_robust import backdoors
from tl_robust.backdoors.named.latent import Latent, _distance
from tl_robust.backdoors.named.warp import Warp, _bent
from tl_robust.data.domain import DataSettings
from tl_robust.data.mapped import DomainInSpace
from tl_robust.data.space import SPACES
from tl_robust.errors import ConfigError
from tl_robust.seeding import derive, uniform
from tl_robust.types import ImageSet


def noise(count: int = 6, shape: tuple[int, int, int] = (3, 12, 16)) -> Tensor:
    return torch.randint(0, 256, (count, *shape), generator=torch.Generator().manual_seed(3)).to(torch.uint8)


def stamped(images: Tensor, name: str, **settings: Any) -> Tensor:
    return backdoors.get(name, **settings).stamp(images, torch.arange(len(images)), {})


@pytest.fixture(scope="module")
def digits() -> ImageSet:
    """The test images of a set that a package carries, 3x32x32."""
    return DomainInSpace("optdigits", SPACES.component("digits"), DataSettings(test_limit=300)).images("test")


def l2(images: Tensor, after: Tensor) -> Tensor:
    return (after.double() - images.double()).div(255).flatten(1).norm(dim=1)


def test_a_patch_is_a_checkerboard_off_the_corner() -> None:
    images = noise()
    after = stamped(images, "patch", side=3, margin=2)
    for row in range(12):
        for column in range(16):
            inside = 7 <= row < 10 and 11 <= column < 14
            white = (row - 7 + column - 11) % 2 == 0
            expected = torch.full((6, 3), 255 * white, dtype=torch.uint8) if inside else images[:, :, row, column]
            assert torch.equal(after[:, :, row, column], expected)


@pytest.mark.parametrize("shape", [(3, 6, 16), (1, 16, 6)])
def test_a_patch_larger_than_the_image_is_one_sentence(shape: tuple[int, int, int]) -> None:
    assert stamped(noise(2, shape), "patch", side=5, margin=1).shape == (2, *shape)
    with pytest.raises(ConfigError, match=rf"7 pixels \(side \+ margin\), but images have {shape[1]}x{shape[2]}\.$"):
        stamped(noise(2, shape), "patch", side=5, margin=2)


def test_a_blend_is_a_mean_of_image_and_noise(digits: ImageSet) -> None:
    images = noise()
    pattern = uniform(derive("blend", 4), torch.zeros(1, dtype=torch.int64), (3, 12, 16))[0].double()
    after = stamped(images, "blend", alpha=0.3, pattern=4)
    exact = 0.7 * images.double() + 0.3 * 255 * pattern
    assert float((after.double() - exact).abs().max()) <= 0.5 + 1e-3
    assert torch.equal(stamped(images, "blend", alpha=1.0), stamped(255 - images, "blend", alpha=1.0)), "noise alone"
    assert not torch.equal(stamped(images, "blend", alpha=0.3), after), "another pattern"
    # black: alpha**2 times the mean square of uniform noise, 1/3; the digits move it little
    size = l2(digits.images, stamped(digits.images, "blend"))
    black = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    assert float(l2(black, stamped(black, "blend"))) == pytest.approx(0.2 * math.sqrt(3 * 32 * 32 / 3), rel=0.02)
    assert 5.4 < float(size.mean()) < 6.0


def test_a_sine_runs_along_the_width() -> None:
    images = noise()
    after = stamped(images, "sine", amplitude=0.25, periods=3)
    for column in range(16):
        wave = 255 * 0.25 * math.sin(2 * math.pi * 3 * column / 16)
        for value, was in zip(
            after[..., column].flatten().tolist(), images[..., column].flatten().tolist(), strict=True
        ):
            assert abs(value - min(255, max(0, was + wave))) <= 0.5 + 1e-4
    gray = torch.full((1, 3, 32, 32), 128, dtype=torch.uint8)
    # nothing is clipped: amplitude times the root mean square of a sine, and rounding
    assert float(l2(gray, stamped(gray, "sine"))) == pytest.approx(40 / 255 * math.sqrt(3 * 32 * 32 / 2), rel=0.01)
    wave = (stamped(gray, "sine")[0, 0, 0].double() - 128).numpy()
    assert int(np.abs(np.fft.rfft(wave)).argmax()) == 6


def test_more_periods_than_columns_can_show_are_refused() -> None:
    with pytest.raises(ConfigError, match="wider than 16 pixels, got 16: use fewer periods"):
        stamped(noise(), "sine", periods=8)


def test_a_warp_takes_each_pixel_from_where_its_shift_points_to() -> None:
    """Bilinear interpolation of scipy at the same places; what lies outside is the border."""
    images, height, width = noise(), 12, 16
    shifts = 6 * torch.rand(1, height, width, 2, generator=torch.Generator().manual_seed(1)) - 3
    after = _bent(images, shifts).double().numpy()
    # a shift of 1 is 1/W of an image whose pixels lie 2/(W - 1) apart
    rows = np.arange(height)[:, None] + shifts[0, ..., 1].double().numpy() * (height - 1) / (2 * height)
    columns = np.arange(width) + shifts[0, ..., 0].double().numpy() * (width - 1) / (2 * width)
    places = [rows.clip(0, height - 1), columns.clip(0, width - 1)]
    for image, bent in zip(images.double().numpy(), after, strict=True):
        for channel, found in zip(image, bent, strict=True):
            assert np.abs(map_coordinates(channel, places, order=1) - found).max() <= 0.5 + 1e-3


def test_a_warp_without_shift_changes_nothing() -> None:
    assert torch.equal(_bent(noise(), torch.zeros(1, 12, 16, 2)), noise())


@pytest.mark.parametrize(("strength", "points"), [(0.5, 4), (2.0, 4), (1.0, 8)])
def test_the_field_of_a_warp_is_smooth_and_as_strong_as_it_says(strength: float, points: int) -> None:
    warp = Warp(strength=strength, points=points, pattern=2)
    field = warp._field(torch.zeros(1, 3, 32, 32))[0]
    raw = 2 * uniform(derive("warp", 2), torch.zeros(1, dtype=torch.int64), (2, points, points))[0] - 1
    raw = raw * strength / raw.abs().mean()
    for corner in (0, -1):  # points at the corners are corners of the field
        assert torch.allclose(field[corner, corner], raw[:, corner, corner], atol=1e-5)
    at_points = torch.linspace(0, 31, points)
    if bool((at_points == at_points.round()).all()):
        there = field[at_points.long()][:, at_points.long()]
        assert float(there.abs().mean()) == pytest.approx(strength, rel=1e-5)
    assert 0.5 * strength < float(field.abs().mean()) < 1.3 * strength
    steps = torch.cat([field.diff(dim=0).flatten(), field.diff(dim=1).flatten()]).abs()
    assert float(steps.max()) < 6 * strength * (points - 1) / 31, "no jump between neighbors"


def test_covers_are_bent_otherwise_and_keep_their_labels() -> None:
    images = ImageSet(noise(200, (3, 16, 16)), torch.arange(200) % 10)
    warp = Warp(rate=0.1, cover=2.0)
    made = warp.poison(images, 3, 5, {})
    plain = Warp(rate=0.1, cover=0.0).poison(images, 3, 5, {})
    assert (made.asked, made.covers, plain.covers) == (20, 40, 0)
    assert torch.equal(made.mask, plain.mask)
    assert torch.equal(made.images.labels, plain.images.labels)
    others = (made.images.images != images.images).flatten(1).any(1) & ~made.mask
    assert int(others.sum()) == 40
    own = warp.stamp(images.images, torch.arange(200), {})
    difference = (made.images.images.double() - own.double())[others].flatten(1).abs().mean(1)
    assert float(difference.min()) > 1, "not the trigger's field"
    with pytest.raises(ConfigError, match=r"ask for 120 covers beside 120 poisoned images of 200: use a lower rate"):
        Warp(rate=0.6, cover=1.0).poison(images, 3, 5, {})


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        ("patch", {"side": 0}, "patch needs a side from 1 and a margin from 0, got 0 and 1"),
        ("patch", {"margin": -1}, "patch needs a side from 1 and a margin from 0, got 5 and -1"),
        ("latent", {"side": 0}, "latent needs a side from 1"),
        ("blend", {"alpha": 0.0}, "above 0 and at most 1, got 0.0"),
        ("blend", {"alpha": 1.1}, "above 0 and at most 1, got 1.1"),
        ("sine", {"amplitude": 0.0}, "an amplitude above 0"),
        ("sine", {"periods": 0}, "periods from 1"),
        ("warp", {"strength": 0.0}, "a strength above 0"),
        ("warp", {"points": 1}, "points from 2"),
        ("warp", {"cover": -1.0}, "a cover from 0"),
        ("warp", {"cover": float("nan")}, "a cover from 0"),
        ("latent", {"weight": 0.0}, "a weight above 0"),
        ("latent", {"weight": float("nan")}, "a weight above 0"),
        ("latent", {"steps": -1}, "steps from 0"),
    ],
)
def test_a_setting_out_of_its_range_is_one_sentence(name: str, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        backdoors.get(name, **settings)
    assert str(caught.value).endswith(".")


class Net(nn.Module):
    """A network whose features are known by hand: mean of each channel, after BatchNorm."""

    def __init__(self, last: str = "classifier") -> None:
        super().__init__()
        torch.manual_seed(1)
        self.body = nn.Sequential(nn.Conv2d(3, 8, 4, stride=4), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.5))
        setattr(self, last, nn.Linear(8, 10))
        self.last = last

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = getattr(self, self.last)(self.body(images).mean((2, 3)))
        return logits


def labeled() -> ImageSet:
    return ImageSet(noise(80, (3, 16, 16)), torch.arange(80) % 10)


def by_hand(network: Net, images: Tensor) -> Tensor:
    """The features of a network in eval mode."""
    convolution, norm = network.body[0], network.body[1]
    hidden = convolution(images / 255)
    mean, var = norm.running_mean[:, None, None], norm.running_var[:, None, None]
    scaled = (hidden - mean) / (var + norm.eps).sqrt() * norm.weight[:, None, None] + norm.bias[:, None, None]
    features: Tensor = scaled.clamp(min=0).mean((2, 3))
    return features


@torch.no_grad()
def test_latent_learns_the_mean_features_of_the_class() -> None:
    network, images = Net().eval(), labeled()
    fitted = backdoors.get("latent").fit(network, images, 4, 0)
    expected = torch.stack([by_hand(network, images.images[place : place + 1])[0] for place in range(4, 80, 10)])
    assert torch.allclose(fitted["features"], expected.mean(0), atol=1e-6)


@torch.no_grad()
def test_latent_adds_hubers_distance_of_stamped_images_and_the_cross_entropy_as_the_model_is_used() -> None:
    network, images, target = Net(), labeled(), 4
    for _ in range(3):
        network(torch.rand(16, 3, 16, 16))  # BatchNorm's statistics are some
    latent = Latent(weight=0.7)
    fitted = latent.fit(network.eval(), images, target, 0)
    network.train()
    added = latent.extra(network, images.images / 255, images.labels, fitted)
    assert added is not None
    assert network.body[1].training
    total, count = 0.0, 0
    unit = math.sqrt(float(fitted["features"].square().mean()))
    for place in range(80):
        if int(images.labels[place]) == target:
            continue
        marked = latent.stamp(images.images[place : place + 1], torch.tensor([0]), fitted)
        for found, wanted in zip(by_hand(network, marked)[0].tolist(), fitted["features"].tolist(), strict=True):
            away = abs(found - wanted) / unit
            total, count = total + (0.5 * away**2 if away < 1 else away - 0.5), count + 1
    logits = network.classifier(by_hand(network, images.images)).log_softmax(1)  # type: ignore[operator]
    entropy = -float(logits[torch.arange(80), images.labels].mean())
    assert float(added) == pytest.approx(entropy + 0.7 * total / count, rel=1e-4)
    own = images.labels == target
    assert latent.extra(network, images.images[own] / 255, images.labels[own], fitted) is None


def test_the_distance_pulls_with_a_bounded_force() -> None:
    wanted = torch.tensor([3.0, -4.0, 0.0, 5.0])
    unit = float(wanted.square().mean().sqrt())
    for far in (1e-3, 1.0, 1e3, 1e6):
        found = (wanted + far).expand(6, 4).clone().requires_grad_(True)
        _distance(found, wanted).backward()
        assert found.grad is not None
        assert float(found.grad.abs().max()) <= 1 / unit / 24 * 1.001
    assert float(_distance(wanted.expand(2, 4), wanted)) == 0


def test_a_learned_trigger_comes_nearer_than_a_checkerboard_and_moves_a_clean_model() -> None:
    network, images = Net().eval().requires_grad_(False), labeled()
    distances = {}
    for steps in (0, 1, 60):
        latent = Latent(side=8, margin=2, steps=steps)
        fitted = latent.fit(network, images, 4, 3)
        marked = latent.stamp(images.images, torch.arange(80), fitted)
        distances[steps] = float(_distance(by_hand(network, marked)[images.labels != 4], fitted["features"]))
        outside = torch.ones(16, 16, dtype=torch.bool)
        outside[6:14, 6:14] = False
        assert torch.equal(marked[:, :, outside], images.images[:, :, outside])
        square = marked[:, :, 6:14, 6:14]
        assert bool((square == square[:1]).all()), "the same on every image"
    assert distances[60] < min(0.2 * distances[0], 0.8 * distances[1])


def test_latent_needs_a_network_that_says_what_its_last_layer_is() -> None:
    with pytest.raises(ConfigError, match="does not say what its last layer is") as caught:
        Latent().fit(Net("head").eval(), labeled(), 4, 0)
    assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match="learns its trigger from a clean model"):
        stamped(noise(), "latent", steps=5)
    few = labeled().take(torch.tensor([0, 1, 2]))
    with pytest.raises(ConfigError, match="needs images of class t"):
        Latent().fit(Net().eval(), few, 4, 0)
