"""The domains that are drawn from fonts: what is promised of every image, and what has to vary."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib
import pytest
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from tl_robust.data import rendering
from tl_robust.data.domain import Domain, Split
from tl_robust.data.domains.rendered_print import RenderedPrint
from tl_robust.data.domains.rendered_syn import RenderedSyn
from tl_robust.data.rendering import FONTS, Style, luminance, render
from tl_robust.errors import ConfigError
from tl_robust.types import ImageSet

BOTH = pytest.mark.parametrize("domain", [RenderedSyn, RenderedPrint])
STYLES = pytest.mark.parametrize("style", [RenderedSyn.style, RenderedPrint.style])


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def load(domain: type[Domain], split: Split = "train") -> ImageSet:
    return domain().load(split, Path("nowhere"), download=False)


def plain(style: Style, contrast: float) -> Tensor:
    """Largest luminance difference from the corner, ``[N]`` in [0,1], without anything but digit and background."""
    images = render(replace(style, contrast=contrast, shade=0, neighbor=0, outline=0), 5, 1000).images / 255
    luma = luminance(images)
    return (luma - luma[..., :1, :1]).abs().amax(dim=(1, 2, 3))


def center(images: Tensor) -> Tensor:
    """Center of what differs from the corner pixel, ``[N,2]`` in pixels (down, across)."""
    ink = (images.float() - images[..., :1, :1]).abs().sum(1)
    place = torch.arange(ink.shape[-1]) - (ink.shape[-1] - 1) / 2
    return torch.stack([(ink.sum(2) * place).sum(1), (ink.sum(1) * place).sum(1)], dim=1) / ink.sum((1, 2))[:, None]


@pytest.mark.parametrize(
    ("domain", "split", "shape"),
    [
        (RenderedSyn, "train", (6000, 3, 32, 32)),
        (RenderedSyn, "test", (1000, 3, 32, 32)),
        (RenderedPrint, "train", (3000, 1, 28, 28)),
        (RenderedPrint, "test", (500, 1, 28, 28)),
    ],
)
def test_shape_and_balance(domain: type[Domain], split: Split, shape: tuple[int, ...]) -> None:
    images = load(domain, split)
    assert images.images.shape == shape
    assert images.images.dtype == torch.uint8
    assert images.labels.bincount().tolist() == [shape[0] // 10] * 10


@BOTH
def test_same_pixels_twice(domain: type[Domain]) -> None:
    first = load(domain, "test").fingerprint
    rendering._atlas.cache_clear()
    assert load(domain, "test").fingerprint == first


@STYLES
def test_threads_do_not_matter(style: Style) -> None:
    prints = set()
    for threads in (1, 2):
        torch.set_num_threads(threads)
        rendering._atlas.cache_clear()
        prints.add(render(style, 3, 600).fingerprint)
    assert len(prints) == 1


@STYLES
@pytest.mark.parametrize("count", [1, 37, 251])
def test_image_does_not_depend_on_the_others(style: Style, count: int) -> None:
    few, many = render(style, 3, count), render(style, 3, 600)
    assert torch.equal(few.images, many.images[:count])
    assert torch.equal(few.labels, many.labels[:count])


@BOTH
def test_all_images_differ_within_and_between_splits(domain: type[Domain]) -> None:
    images = torch.cat([load(domain, "train").images, load(domain, "test").images])
    assert len({image.numpy().tobytes() for image in images}) == len(images)


@BOTH
def test_version_and_sizes_of_a_subclass(domain: type[RenderedSyn]) -> None:
    smaller = type("Smaller", (domain,), {"train_size": 20})
    other = type("Other", (domain,), {"VERSION": 2})
    assert torch.equal(load(smaller).images, load(domain).images[:20])
    assert not torch.equal(load(other).images[:20], load(domain).images[:20])


def test_every_font_draws_ten_digits() -> None:
    masks, half_width = rendering._atlas()
    sharp = masks[: len(FONTS) * 10, 0]
    assert len({mask.numpy().tobytes() for mask in sharp}) == len(FONTS) * 10
    assert half_width.min() > 3
    for border in (sharp[:, 0], sharp[:, -1], sharp[:, :, 0], sharp[:, :, -1]):
        assert border.max() == 0  # no digit leaves its cell
    tall = (sharp.amax(2) > 0.5).sum(1)
    assert tall.min() > 0.7 * rendering._TALL


def shape(picture: Image.Image) -> Tensor:
    """What is drawn in ``picture``, cut out and scaled to 16 x 16, as ``[256]`` in [0,1]."""
    small = picture.crop(picture.point(lambda value: 255 * (value > 80)).getbbox()).resize((16, 16))
    return torch.tensor(list(small.tobytes())).flatten() / 255


@pytest.mark.parametrize("row", range(len(FONTS)))
def test_atlas_holds_the_digits_upright_and_in_order(row: int) -> None:
    path = Path(matplotlib.get_data_path(), "fonts", "ttf", f"{FONTS[row]}.ttf")
    known = []
    for digit in "0123456789":
        picture = Image.new("L", (200, 200))
        ImageDraw.Draw(picture).text((60, 40), digit, fill=255, font=ImageFont.truetype(path, 90))
        known.append(shape(picture))
    cells = rendering._atlas()[0][10 * row : 10 * row + 10, 0].mul(255).to(torch.uint8)
    found = torch.stack([shape(Image.fromarray(cell.numpy())) for cell in cells])
    assert torch.cdist(found, torch.stack(known)).argmin(dim=1).tolist() == list(range(10))


def test_label_is_the_digit_that_is_drawn() -> None:
    cell, tall = rendering._CELL, rendering._TALL
    still = Style(cell, 1, (tall, tall), (1, 1), shift=0, tilt=0, blur=(0, 0), ink=(1, 1), paper=(0, 0), contrast=0.5)
    drawn = render(still, 3, 500)
    known = rendering._atlas()[0][: len(FONTS) * 10, 0].flatten(1)
    difference, nearest = torch.cdist(drawn.images.flatten(1) / 255, known).min(dim=1)
    assert difference.max() < 0.1
    assert torch.equal(nearest % 10, drawn.labels)
    assert (nearest // 10).unique().tolist() == list(range(len(FONTS)))


def test_luminance_by_hand() -> None:
    colors = torch.tensor([[1.0, 1.0, 1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.5]])
    assert torch.allclose(luminance(colors), torch.tensor([[1.0], [0.587], [0.356]]))


@pytest.mark.parametrize(("style", "floor"), [(RenderedSyn.style, 0.2), (RenderedPrint.style, 0.4)])
def test_contrast_has_a_floor(style: Style, floor: float) -> None:
    assert plain(style, style.contrast).min() > floor


def test_contrast_floor_is_what_does_it() -> None:
    assert plain(RenderedSyn.style, 0).min() < 0.05


def test_syn_varies() -> None:
    images = load(RenderedSyn, "test").images / 255
    edges = torch.cat([images[:, :, 0], images[:, :, -1]], dim=2)
    assert (edges.median(dim=2).values.std(dim=0) > 0.2).all()  # background, each channel
    farthest = (images - images[:, :, :1, :1]).abs().sum(1).flatten(1).argmax(1)
    ink = images.flatten(2)[torch.arange(len(images)), :, farthest]
    assert (ink.std(dim=0) > 0.2).all()  # color of digit or outline, each channel
    light = luminance(images)[:, 0]
    dark_on_light = light[:, 8:24, 8:24].flatten(1).mean(1) < light[:, 0].mean(1)
    assert 0.3 < dark_on_light.float().mean() < 0.7  # polarity


def test_syn_digits_are_cut_off_at_left_and_right() -> None:
    style = replace(RenderedSyn.style, shade=0)
    for neighbor, low, high in ((0.0, 0.0, 0.05), (style.neighbor, 0.3, 0.7), (1.0, 0.7, 1.0)):
        images = render(replace(style, neighbor=neighbor), 3, 500).images.int()
        for column in (images[..., 0], images[..., -1]):
            touched = ((column - column[..., :1]).abs().amax(dim=(1, 2)) > 20).float().mean()
            assert low <= touched <= high


@pytest.mark.parametrize("name", ["shade", "outline", "neighbor", "tilt"])
def test_each_effect_changes_images(name: str) -> None:
    off: dict[str, Any] = {name: 0.0}
    without = render(replace(RenderedSyn.style, **off), 3, 100).images
    changed = (without != render(RenderedSyn.style, 3, 100).images).flatten(1).any(1).float().mean()
    assert 0.2 < changed <= 1.0


@STYLES
@pytest.mark.parametrize("name", ["height", "stretch", "blur", "ink", "paper"])
def test_each_range_is_used(style: Style, name: str) -> None:
    both = render(style, 3, 100).images
    for end in getattr(style, name):
        fixed: dict[str, Any] = {name: (end, end)}
        changed = (render(replace(style, **fixed), 3, 100).images != both).flatten(1).any(1).float().mean()
        assert changed > 0.3


@STYLES
def test_position_varies_within_its_bounds(style: Style) -> None:
    alone = replace(style, shade=0, neighbor=0, outline=0)
    moved = center(render(alone, 3, 500).images) - center(render(replace(alone, shift=0), 3, 500).images)
    assert moved.abs().max() < style.shift + 0.2
    assert (moved.amax(dim=0) > 0.9 * style.shift).all()
    assert (moved.amin(dim=0) < -0.9 * style.shift).all()


def test_print_is_light_on_dark() -> None:
    images = load(RenderedPrint, "test").images
    assert images[:, 0, 0, 0].max() <= 0.15 * 255 + 1
    assert images.flatten(1).amax(1).min() > 0.5 * 255


def test_impossible_style_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"contrast \+ style.shade must be in \[0, 0.5\]"):
        replace(RenderedSyn.style, contrast=0.45)
    with pytest.raises(ConfigError, match="channels must be 1 or 3"):
        replace(RenderedSyn.style, channels=2)
