"""Digits drawn from a seed, in the fonts that come with matplotlib.

Every digit of every font is drawn once, large, and blurred to several degrees: this is the atlas. An image is then made
by one affine lookup in the atlas for each digit, plus colors, for many images at once. All numbers come from
:func:`tl_robust.seeding.uniform`, keyed by seed and index, and all arithmetic is elementwise (no ``sin``, no
convolution, no matrix product), so that an image is the same, bit for bit, for any number of images or threads.

Axes: N images, C channels, H height, W width.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

import matplotlib
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from torch import Tensor
from torch.nn.functional import grid_sample
from typing_extensions import override

from tl_robust.data.domain import Domain, Split
from tl_robust.errors import ConfigError, DataError
from tl_robust.seeding import derive, uniform
from tl_robust.types import ImageSet

FONTS = (
    *("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSans-BoldOblique"),
    *("DejaVuSansMono", "DejaVuSansMono-Bold", "DejaVuSansMono-Oblique", "DejaVuSansMono-BoldOblique"),
    *("DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic", "DejaVuSerif-BoldItalic"),
    *("STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "STIXGeneralBolIta"),
    *("cmr10", "cmb10", "cmss10", "cmti10", "cmtt10"),
)
_CELL, _TALL, _OUTLINE = 48, 32, 3  # pixels of the atlas: side of a cell, height of a zero, width of an outline
_BLURS = tuple(0.5 * 2 ** (step / 2) for step in range(7))  # standard deviations; other blurs take the next smaller
_CHUNK = 250  # images drawn at once: a matter of memory only


@dataclass(frozen=True)
class Style:
    """What varies from image to image, and how far; a pair of numbers is the two ends of a range.

    Attributes:
        side: Height and width of an image in pixels.
        channels: 1 (gray) or 3 (color).
        height: Height of the digit in pixels.
        stretch: Width over the font's own width.
        shift: Largest shift of the digit's center from the image's, in pixels, on each axis.
        tilt: Tangent of half the largest rotation.
        blur: Standard deviation of the blur in pixels.
        ink: Values of the digit in each channel, in [0, 1], where 0 is black.
        paper: Values of the background in each channel.
        contrast: Least difference in luminance between digit and background, and between digit and outline.
        shade: Largest change of the background from the center to an edge.
        neighbor: Chance of another digit on the left, as in a number of several digits, and of one on the right.
        gap: Space between neighbors, in heights of the digit.
        outline: Chance of an outline in a color of its own.
    """

    side: int
    channels: int
    height: tuple[float, float]
    stretch: tuple[float, float]
    shift: float
    tilt: float
    blur: tuple[float, float]
    ink: tuple[float, float]
    paper: tuple[float, float]
    contrast: float
    shade: float = 0.0
    neighbor: float = 0.0
    gap: tuple[float, float] = (0.0, 0.0)
    outline: float = 0.0

    def __post_init__(self) -> None:
        if self.channels not in (1, 3):
            raise ConfigError(f"style.channels must be 1 or 3, got {self.channels}.")
        if not 0 <= self.contrast + self.shade <= 0.5:
            raise ConfigError(f"style.contrast + style.shade must be in [0, 0.5], got {self.contrast + self.shade}.")


def luminance(color: Tensor) -> Tensor:
    """Luma (ITU-R BT.601) of ``color`` ``[N,C,...]``, as ``[N,1,...]``; gray is returned as it is."""
    if color.shape[1] == 1:
        return color
    return 0.299 * color[:, 0:1] + 0.587 * color[:, 1:2] + 0.114 * color[:, 2:3]


def render(style: Style, seed: int, count: int) -> ImageSet:
    """Draw ``count`` images in a style. Image i depends on the seed and on i alone; its label is i mod 10."""
    index = torch.arange(count)
    images = torch.cat([_draw(style, seed, chunk) for chunk in index.split(_CHUNK)])
    return ImageSet(images, index % 10)


class DrawnDomain(Domain):
    """Digits that are drawn on loading, with disjoint seeds for the splits. A subclass sets how many and in what style.

    Attributes:
        draws: Names the random draws, so that they stay the same whatever the domain is called.
    """

    classes = tuple("0123456789")
    draws: ClassVar[str]
    train_size: ClassVar[int]
    test_size: ClassVar[int]
    style: ClassVar[Style]

    @override
    def read(self, split: Split, root: Path, download: bool) -> ImageSet:
        size = self.train_size if split == "train" else self.test_size
        return render(self.style, derive(self.draws, self.VERSION, split), size)


@lru_cache(maxsize=1)
def _atlas() -> tuple[Tensor, Tensor]:
    """Masks ``[blurs * fonts * 10, 2, cell, cell]`` (digit; digit with outline), and half widths ``[fonts * 10]``."""
    size = (10 * _CELL, len(FONTS) * _CELL)
    sheets = [Image.new("L", size), Image.new("L", size)]
    half_width = torch.zeros(len(FONTS), 10)
    for row, name in enumerate(FONTS):
        path = Path(matplotlib.get_data_path(), "fonts", "ttf", f"{name}.ttf")
        if not path.is_file():
            raise DataError(f"font {path} not found: expected matplotlib's fonts; install matplotlib again.")
        _, top, _, bottom = ImageFont.truetype(path, 100).getbbox("0")
        font = ImageFont.truetype(path, 100 * _TALL / (bottom - top))
        for digit in range(10):
            left, top, right, bottom = font.getbbox(str(digit))
            half_width[row, digit] = (right - left) / 2
            corner = ((digit + 0.5) * _CELL - (left + right) / 2, (row + 0.5) * _CELL - (top + bottom) / 2)
            for sheet, stroke in zip(sheets, (0, _OUTLINE), strict=True):
                ImageDraw.Draw(sheet).text(corner, str(digit), fill=255, font=font, stroke_width=stroke)
    blurred = [[np.asarray(sheet.filter(ImageFilter.GaussianBlur(blur))) for sheet in sheets] for blur in _BLURS]
    cells = torch.from_numpy(np.array(blurred)).view(len(_BLURS), 2, len(FONTS), _CELL, 10, _CELL)
    return cells.permute(0, 2, 4, 1, 3, 5).reshape(-1, 2, _CELL, _CELL) / 255, half_width.flatten()


def _apart(color: Tensor, other: Tensor, least: float) -> Tensor:
    """``color`` ``[N,C]``, moved towards black or white until its luminance is ``least`` from that of ``other``."""
    own, others = luminance(color), luminance(other)
    end = (others < 0.5).float()
    goal = others + (2 * end - 1) * least
    moved = color + (end - color) * ((goal - own) / (end - own))
    return torch.where((own - others).abs() < least, moved.clamp(0, 1), color)


def _draw(style: Style, seed: int, index: Tensor) -> Tensor:
    """Images ``[N,C,H,W]`` (uint8) of ``index`` ``[N]``."""

    def between(name: str, low: float, high: float, size: int = 1) -> Tensor:
        return low + (high - low) * uniform(derive("rendering", seed, name), index, (size,))

    # Where each pixel lies in the upright digit, in pixels of the atlas. The rotation is parametrized by the tangent t
    # of half its angle: cos = (1 - t^2) / (1 + t^2), sin = 2 t / (1 + t^2).
    scale = _TALL / between("height", *style.height)
    tangent = between("tilt", -style.tilt, style.tilt)
    norm = 1 + tangent * tangent
    cos, sin = (1 - tangent * tangent) / norm * scale, 2 * tangent / norm * scale
    pixel = torch.arange(style.side) - (style.side - 1) / 2
    x = (pixel - between("x", -style.shift, style.shift))[:, None, :]
    y = (pixel - between("y", -style.shift, style.shift))[:, :, None]
    across = (cos[..., None] * x + sin[..., None] * y) / between("stretch", *style.stretch)[..., None]
    down = cos[..., None] * y - sin[..., None] * x

    masks, half_width = _atlas()
    font = between("font", 0, len(FONTS))[:, 0].long()
    blur = torch.bucketize(between("blur", *style.blur) * scale, torch.tensor(_BLURS[1:]))[:, 0]
    center = 10 * font + index % 10
    gap = between("gap", *style.gap)[:, 0] * _TALL
    mask = torch.zeros(len(index), 2, style.side, style.side)
    for name, side in (("", 0), ("left", -1), ("right", 1)):
        glyph, offset = center, torch.zeros(len(index))
        if side:
            glyph = 10 * font + between(f"{name} digit", 0, 10)[:, 0].long()
            offset = side * (half_width[center] + gap + half_width[glyph])
        grid = torch.stack([across - offset[:, None, None], down], dim=3) / (_CELL / 2)
        cells = masks[blur * len(half_width) + glyph]
        drawn = grid_sample(cells, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        visible = between(f"{name} shown", 0, 1) < (style.neighbor if side else 1)
        mask = torch.maximum(mask, drawn * visible[..., None, None])

    paper = between("paper", *style.paper, size=style.channels)
    ink = _apart(between("ink", *style.ink, size=style.channels), paper, style.contrast + style.shade)
    edge = _apart(between("edge", 0, 1, size=style.channels), ink, style.contrast)
    slope_x, slope_y = between("slope x", -1, 1)[..., None], between("slope y", -1, 1)[..., None]
    shade = (slope_x * pixel + slope_y * pixel[:, None])[:, None] * (style.shade / style.side)
    outlined = (between("outline", 0, 1) < style.outline)[..., None, None]

    image = paper[..., None, None] + shade
    image = image + (edge[..., None, None] - image) * (mask[:, 1:] * outlined)
    image = image + (ink[..., None, None] - image) * mask[:, :1]
    return (image.clamp(0, 1) * 255).round().to(torch.uint8)
