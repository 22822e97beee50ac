"""Into the common shape and the common labels."""

import pytest
import torch
from torch import Tensor

from tl_robust.data.space import SPACES, Space, get_space, labels_of
from tl_robust.data.spaces.digits import Digits
from tl_robust.errors import ConfigError
from tl_robust.seeding import generator
from tl_robust.types import ImageSet

TEN = tuple("0123456789")


def made(side: int, channels: int = 1, count: int = 10) -> ImageSet:
    pixels = torch.randint(0, 256, (count, channels, side, side), generator=generator(side, channels))
    return ImageSet(pixels.to(torch.uint8), torch.arange(count) % 10)


def frame(images: Tensor) -> Tensor:
    """The pixels of the border of two."""
    inside = torch.zeros(images.shape[-2:], dtype=torch.bool)
    inside[2:-2, 2:-2] = True
    return images[..., ~inside]


def test_28_pixels_are_padded_by_two_zeros_and_not_touched() -> None:
    images = made(28)
    mapped = Digits().map(images, TEN, TEN).images
    assert mapped.shape == (10, 3, 32, 32)
    assert torch.equal(mapped[:, :, 2:30, 2:30], images.images.expand(-1, 3, -1, -1))
    assert frame(mapped).numel() == 10 * 3 * (32**2 - 28**2)
    assert not frame(mapped).any()


def bilinear(before: int, after: int) -> Tensor:
    """The matrix ``[after, before]`` of linear interpolation between pixel centers, the ends held."""
    place = ((torch.arange(after, dtype=torch.float64) + 0.5) * before / after - 0.5).clamp(0, before - 1)
    return (1 - (place[:, None] - torch.arange(before)).abs()).clamp(min=0)


def test_16_pixels_are_resized_to_28_and_padded() -> None:
    images = made(16)
    mapped = Digits().map(images, TEN, TEN).images
    expected = bilinear(16, 28) @ images.images.double() @ bilinear(16, 28).T
    assert mapped.dtype == torch.uint8
    assert (mapped[:, :1, 2:30, 2:30] - expected).abs().max() <= 0.51, "rounded to the nearest"
    assert not frame(mapped).any()


def test_a_flat_image_stays_flat() -> None:
    flat = ImageSet(torch.full((1, 1, 16, 16), 200, dtype=torch.uint8), torch.tensor([3]))
    assert Digits().map(flat, TEN, TEN).images[..., 2:30, 2:30].unique().tolist() == [200]


def test_32_pixels_stay_as_they_are() -> None:
    images = made(32, channels=3)
    assert torch.equal(Digits().map(images, TEN, TEN).images, images.images)


def test_larger_images_are_resized_to_the_full_side() -> None:
    left = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    left[..., :32] = 255
    mapped = Digits().map(ImageSet(left, torch.tensor([0])), TEN, TEN).images
    assert mapped.shape == (1, 3, 32, 32)
    assert mapped[..., :15].unique().tolist() == [255]
    assert mapped[..., 17:].unique().tolist() == [0]


def triangles(before: int, after: int) -> Tensor:
    """The matrix ``[after, before]`` of linear interpolation in shrinking: triangles as wide as two new pixels."""
    scale = before / after
    center = (torch.arange(after, dtype=torch.float64)[:, None] + 0.5) * scale
    weight = (1 - (torch.arange(before) + 0.5 - center).abs() / scale).clamp(min=0)
    return weight / weight.sum(1, keepdim=True)


@pytest.mark.parametrize("sides", [(64, 64), (96, 96), (48, 33), (100, 40), (33, 64)])
def test_shrinking_is_antialiased(sides: tuple[int, int]) -> None:
    """Every pixel of a set that is shrunk counts, as in the slow computation."""
    pixels = torch.randint(0, 256, (3, 3, *sides), generator=generator(*sides)).to(torch.uint8)
    mapped = Digits().map(ImageSet(pixels, torch.arange(3)), TEN, TEN).images
    expected = triangles(sides[0], 32) @ pixels.double() @ triangles(sides[1], 32).T
    assert (mapped - expected).abs().max() <= 0.51, "rounded to the nearest"


@pytest.mark.parametrize("sides", [(40, 20), (20, 40), (28, 29), (32, 8)])
def test_the_longer_side_decides_whether_an_image_is_padded(sides: tuple[int, int]) -> None:
    white = ImageSet(torch.full((1, 1, *sides), 255, dtype=torch.uint8), torch.tensor([3]))
    assert Digits().map(white, TEN, TEN).images.unique().tolist() == [255], "resized to all of 32x32"
    small = ImageSet(torch.full((1, 1, 28, 20), 255, dtype=torch.uint8), torch.tensor([3]))
    assert not frame(Digits().map(small, TEN, TEN).images).any()


@pytest.mark.parametrize("side", [8, 16, 28, 32, 64])
def test_gray_gets_three_equal_channels_that_share_no_memory(side: int) -> None:
    mapped = Digits().map(made(side), TEN, TEN).images
    assert mapped.shape == (10, 3, 32, 32)
    assert torch.equal(mapped[:, 0], mapped[:, 1])
    assert torch.equal(mapped[:, 0], mapped[:, 2])
    assert mapped.is_contiguous()


class Odd(Space):
    classes = ("ship", "cat", "dog")
    image_shape = (1, 9, 9)
    inner = 6


def test_labels_follow_class_names_and_others_are_left_out() -> None:
    images = made(9, count=6)
    images = ImageSet(images.images, torch.tensor([0, 1, 2, 3, 1, 2]))
    mapped = Odd().map(images, ("dog", "horse", "ship", "cat"), Odd.classes)
    assert mapped.labels.tolist() == [2, 0, 1, 0]
    assert torch.equal(mapped.images, images.images[[0, 2, 3, 5]])


def test_an_odd_frame_is_one_wider_at_the_end() -> None:
    mapped = Odd().map(made(6, count=3), ("ship", "cat", "dog"), Odd.classes).images
    assert torch.equal(mapped[..., 1:7, 1:7], made(6, count=3).images)
    assert int(mapped.count_nonzero()) == int(made(6, count=3).images.count_nonzero())


def test_without_a_shared_class_nothing_is_left() -> None:
    assert Odd().map(made(9, count=2), ("plane", "bird"), Odd.classes) is None


def test_a_domain_has_the_labels_of_the_pair_if_it_has_any_of_them_else_its_own() -> None:
    assert labels_of(("dog", "horse", "cat"), Odd.classes) == Odd.classes
    assert labels_of(("plane", "", "bird"), Odd.classes) == ("plane", "bird"), "an empty name is no class"
    assert labels_of(("plane", "bird"), ()) == ("plane", "bird")


CIFAR = ("airplane", "car", "bird", "cat")
SEVEN = ("", "cat", "car", "zebra")


@pytest.mark.parametrize(
    ("classes", "expected"),
    [("shared", ("car", "cat")), ("auto", ("car", "cat")), ("own", ()), ("bird, cat", ("bird", "cat"))],
)
def test_the_classes_of_a_pair_in_a_square(classes: str, expected: tuple[str, ...]) -> None:
    space = get_space(SPACES.component("square", {"classes": classes, "side": 16}))
    assert space.image_shape == (3, 16, 16)
    assert space.pair_classes(CIFAR, SEVEN) == expected


def test_no_shared_class_is_an_error_or_means_own_labels() -> None:
    with pytest.raises(ConfigError, match=r"share no class \(source: airplane, car, bird, cat; target: zebra\): give"):
        get_space(SPACES.component("square")).pair_classes(CIFAR, ("zebra",))
    assert get_space(SPACES.component("square", {"classes": "auto"})).pair_classes(CIFAR, ("zebra",)) == ()


@pytest.mark.parametrize("settings", [{"side": 4}, {"classes": ""}, {"classes": "a,,b"}, {"classes": "a,a"}])
def test_a_wrong_square_is_an_error(settings: dict[str, str | int]) -> None:
    with pytest.raises(ConfigError, match=r"^setting '(side|classes)' of space 'square' must be "):
        get_space(SPACES.component("square", settings))


def test_many_images_are_resized_like_one() -> None:
    images = made(16, count=3 * 2)
    assert torch.equal(
        Digits().map(images, TEN, TEN).images[4:5], Digits().map(images.take(torch.tensor([4])), TEN, TEN).images
    )


@pytest.mark.parametrize("name", SPACES.names())
def test_every_space_declares_what_it_needs(name: str) -> None:
    space = get_space(SPACES.component(name))
    channels, height, width = space.image_shape
    assert channels in (1, 3)
    assert 0 < space.inner <= min(height, width)
    assert len(set(space.classes)) == len(space.classes)
    assert space.classes or space.pair_classes(("cat", "dog"), ("dog", "cat")) == ("cat", "dog")
    assert space.VERSION >= 1
