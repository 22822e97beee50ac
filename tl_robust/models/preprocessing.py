"""What a published network expects of images, as its first layer: resized, cropped, normalized, with gradient.

Images are resized as Pillow does it, which official configurations mean: every pixel of the output is a weighted mean
of the input's, the weights come from a kernel whose support grows with the factor by which the image shrinks
(antialiasing), and edges are renormalized. Both axes are multiplications by a matrix, so that the gradient is exact and
deterministic on every device. What a cubic kernel throws out of [0,1] is clipped after each axis, as there. Pillow also
rounds to 8 bits there, and so differs by up to 1.5/255.

Axes: N images, C channels, H height, W width.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from tl_robust.errors import ConfigError
from tl_robust.models.base import Normalize

LARGEST = 4096  # side of an image, in pixels, that a configuration may ask for


def _triangle(x: Tensor) -> Tensor:
    return (1 - x.abs()).clamp_min(0)


def _cubic(x: Tensor) -> Tensor:
    """Keys' cubic convolution kernel with a = -1/2 (IEEE Transactions on ASSP 29, 1981, equation 15)."""
    x = x.abs()
    inner = (1.5 * x - 2.5) * x * x + 1
    outer = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return torch.where(x < 1, inner, torch.where(x < 2, outer, torch.zeros_like(x)))


def _lanczos(x: Tensor) -> Tensor:
    return torch.where(x.abs() < 3, torch.sinc(x) * torch.sinc(x / 3), torch.zeros_like(x))


def _box(x: Tensor) -> Tensor:
    return ((x > -0.5) & (x <= 0.5)).to(x.dtype)


KERNELS: Mapping[str, Callable[[Tensor], Tensor] | None] = {  # of the distance in pixels; None: the nearest pixel alone
    "bilinear": _triangle,
    "bicubic": _cubic,
    "lanczos": _lanczos,
    "box": _box,
    "nearest": None,
}


@dataclass(frozen=True)
class Preprocessing:
    """Steps in this order: resize, crop, normalize.

    Attributes:
        mean: Of each channel, of images in [0,1].
        std: Of each channel, likewise; above 0.
        resize: ``(H, W)``; one number is the shorter side, whose ratio to the longer one stays; none: as they are.
        crop: ``(H, W)`` around the center; none: not at all. Images that are smaller get black edges.
        interpolation: A name of :data:`KERNELS`.
        low: Where an odd number of pixels is cropped off, the middle is rounded down, else to the even place.

    Raises:
        ConfigError: A value is outside its range.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: tuple[int, ...] = ()
    crop: tuple[int, ...] = ()
    interpolation: str = "bilinear"
    low: bool = False

    def __post_init__(self) -> None:
        if self.interpolation not in KERNELS:
            raise ConfigError(f"interpolation must be one of {', '.join(KERNELS)}, got {self.interpolation!r}.")
        for what, sides, lengths in (("resize", self.resize, (0, 1, 2)), ("crop", self.crop, (0, 2))):
            if len(sides) not in lengths or not all(type(side) is int and 1 <= side <= LARGEST for side in sides):
                raise ConfigError(f"{what} of images must be sides of 1 to {LARGEST} pixels, got {list(sides)}.")
        for what, numbers, least in (("mean", self.mean, -math.inf), ("std", self.std, 0.0)):
            plain = all(type(number) in (int, float) and math.isfinite(number) and number > least for number in numbers)
            if len(numbers) != 3 or not plain:
                above = " above 0" if what == "std" else ""
                raise ConfigError(f"{what} of images must be 3 numbers{above}, one a channel, got {list(numbers)}.")

    @property
    def text(self) -> str:
        """The steps as JSON, for the setting of a network."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def parse(cls, text: str) -> Preprocessing:
        """The steps that :attr:`text` describes.

        Raises:
            ConfigError: It describes none.
        """
        try:
            said: dict[str, Any] = json.loads(text)
            values: dict[str, Any] = {key: tuple(one) if isinstance(one, list) else one for key, one in said.items()}
            return cls(**values)
        except (ValueError, TypeError, AttributeError) as error:
            raise ConfigError(f"preprocessing must be JSON with mean and std, got {text[:80]!r}.") from error


class Preprocess(nn.Module):
    """The steps as a layer without weights: images ``[N,3,H,W]`` in [0,1] of any size to what a network is given."""

    def __init__(self, steps: Preprocessing) -> None:
        super().__init__()
        self.steps = steps
        self.normalize = Normalize(steps.mean, steps.std)

    @property
    def mean(self) -> Tensor:
        """Mean of each channel, ``[3,1,1]``."""
        return self.normalize.mean

    @property
    def std(self) -> Tensor:
        """Spread of each channel, ``[3,1,1]``."""
        return self.normalize.std

    @override
    def forward(self, images: Tensor) -> Tensor:
        if self.steps.resize:
            images = resized(images, _size(self.steps.resize, images.shape[-2:]), self.steps.interpolation)
        if self.steps.crop:
            images = center_crop(images, self.steps.crop, self.steps.low)
        normalized: Tensor = self.normalize(images)
        return normalized


def _size(resize: tuple[int, ...], size: torch.Size) -> tuple[int, int]:
    if len(resize) == 2:
        return resize[0], resize[1]
    height, width = size
    short = resize[0]
    return (short, int(short * width / height)) if height <= width else (int(short * height / width), short)


def resized(images: Tensor, size: tuple[int, int], interpolation: str) -> Tensor:
    """Images ``[N,C,H,W]`` in [0,1] to ``[N,C,*size]``, as Pillow does it with antialiasing; differentiable.

    Args:
        images: Of any floating type.
        size: ``(H, W)`` of the result.
        interpolation: A name of :data:`KERNELS`.
    """
    for axis in (-1, -2):  # Pillow's order, which matters where it clips
        before, after = images.shape[axis], size[axis]
        if before != after:
            matrix = _matrix(before, after, interpolation).to(images)
            images = images @ matrix.T if axis == -1 else matrix @ images
            images = images.clamp(0, 1) if interpolation in ("bicubic", "lanczos") else images
    return images


@lru_cache(maxsize=64)
def _matrix(before: int, after: int, interpolation: str) -> Tensor:
    """The weights ``[after,before]`` of the input's pixels in each of the output's, float64 on the CPU."""
    kernel = KERNELS[interpolation]
    # it is kept, whether a network is built where there are no numbers, or asked first where there are no gradients
    with torch.device("cpu"), torch.inference_mode(False):
        scale = before / after
        if kernel is None:
            steps = itertools.accumulate([scale] * (after - 1), initial=scale / 2)  # whose rounding is Pillow's, too
            return functional.one_hot(torch.tensor([int(place) for place in steps]), before).double()
        centers = (torch.arange(after, dtype=torch.float64) + 0.5) * scale
        wide = max(scale, 1.0)
        places = torch.arange(before, dtype=torch.float64) + 0.5
        weights = kernel((places - centers[:, None]) / wide)
        return weights / weights.sum(1, keepdim=True)


def center_crop(images: Tensor, size: tuple[int, ...], low: bool = False) -> Tensor:
    """The middle ``size`` of images ``[N,C,H,W]``, see :class:`Preprocessing`; smaller ones get black edges."""
    height, width = images.shape[-2:]
    more = [max(wanted - own, 0) for wanted, own in zip(size, (height, width), strict=True)]
    if any(more):
        top, left = more[0] // 2, more[1] // 2
        images = functional.pad(images, (left, more[1] - left, top, more[0] - top))
        height, width = images.shape[-2:]
    middle = math.floor if low else round
    top, left = middle((height - size[0]) / 2), middle((width - size[1]) / 2)
    return images[..., top : top + size[0], left : left + size[1]]
