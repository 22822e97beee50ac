"""What makes an image coarser, as links of a guard: fewer bits a pixel, the median of its neighbors, JPEG."""

from __future__ import annotations

from functools import partial
from io import BytesIO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tl_robust.errors import ConfigError
from tl_robust.models.guard import Link


def fewer_bits(bits: int) -> Link:
    """So many bits of a channel of a pixel, from 1 to 8; the identity stands for it."""
    return Link(partial(_bits, 2**bits - 1))


def median(side: int) -> Link:
    """The median of a window of so many pixels each way, with its subgradient.

    Windows reach beyond the image into its mirror image, an even one reaches farther up and left, and the upper of two
    medians counts, as in SciPy's ``median_filter``.
    """
    function = partial(_median, side)
    return Link(function, stand_in=function)


def jpeg(quality: int) -> Link:
    """Compression as JPEG, quality from 1 to 100; the identity stands for it."""
    return Link(partial(_jpeg, quality))


def _bits(top: int, images: Tensor) -> Tensor:
    return images.mul(top).round().div(top)


def _median(side: int, images: Tensor) -> Tensor:
    for axis in (2, 3):
        length, before = images.shape[axis], side // 2
        place = torch.arange(-before, length + side - 1 - before, device=images.device) % (2 * length)
        images = images.index_select(axis, torch.minimum(place, 2 * length - 1 - place))
    around = images.unfold(2, side, 1).unfold(3, side, 1).flatten(-2)
    return around.kthvalue(side**2 // 2 + 1).values


def _jpeg(quality: int, images: Tensor) -> Tensor:
    if images.shape[1] not in (1, 3):
        raise ConfigError(f"squeeze with jpeg needs images of 1 or 3 channels, got {images.shape[1]}: leave jpeg out.")
    pixels = images.detach().nan_to_num().clamp(0, 1).mul(255).round().to("cpu", torch.uint8)
    again = [torch.from_numpy(_compressed(quality, image.permute(1, 2, 0).numpy())) for image in pixels]
    decoded = torch.stack(again).view(len(pixels), *pixels.shape[2:], pixels.shape[1]).permute(0, 3, 1, 2)
    return decoded.to(images).div(255) + 0 * images  # a gradient of zero, as that of rounding


def _compressed(quality: int, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Pixels ``[H,W,C]`` after compression; of one channel ``[H,W]``."""
    from PIL import Image  # slow to import

    file = BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(file, "jpeg", quality=quality)
    return np.array(Image.open(file))
