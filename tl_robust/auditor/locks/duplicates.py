"""Images that occur twice: pixel by pixel, or saved anew with losses or in another brightness.

Axes: N images, M others, C channels, H height, W width, D numbers that describe an image.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

GRID = 16  # means of so many places an axis describe an image, at most
NEIGHBORS = 10
CLEAR = 0.25  # a copy is closer than this share of the distance of the tenth closest image
QUALITY, SLACK = 75, 1.25  # and than JPEG of this quality changes the original, by this factor
LEAST = 1.0  # gray levels that a copy may differ by in any case: rounding and clipping
CLOSE = 0.2  # and than this share of its own contrast
FLAT = 1.0  # gray levels of contrast, below which an image has nothing that tells it from others
CHUNK = 256  # images that are compared at a time


@dataclass(frozen=True)
class Copies:
    """Which of the others each image is a copy of.

    Attributes:
        exact: Place of the other with the same pixels, int64 ``[N]``; -1 where there is none.
        near: Place of the other that it nearly is, likewise; -1 also where there is an exact one.
    """

    exact: Tensor
    near: Tensor

    @property
    def found(self) -> Tensor:
        """Place of either, int64 ``[N]``; -1 where there is none."""
        return torch.where(self.exact >= 0, self.exact, self.near)


def copies(images: Tensor, others: Tensor) -> Copies:
    """Find images that are copies of others.

    A copy is much closer to its original than the original's like are: its distance is at most a quarter of that of
    the tenth closest image (the ratio test of Lowe, "Distinctive image features from scale-invariant keypoints", IJCV
    2004, section 7.1), and 1.25 times what JPEG of quality 75 changes either by. Distances are
    those of means over a grid of places, without the brightness of the whole.

    Args:
        images: uint8 ``[N,C,H,W]``.
        others: uint8 ``[M,C,H,W]``; other sizes are compared, too, but not pixel by pixel.
    """
    exact = torch.full((len(images),), -1)
    if images.shape[1:] == others.shape[1:]:
        places = {name: place for place, name in reversed(list(enumerate(_digests(others))))}
        exact = torch.tensor([places.get(name, -1) for name in _digests(images)])
    return Copies(exact, torch.where(exact >= 0, -1, _near(images, others)))


def _digests(images: Tensor) -> list[bytes]:
    return [hashlib.blake2b(image.contiguous().numpy().tobytes(), digest_size=16).digest() for image in images.cpu()]


def _near(images: Tensor, others: Tensor) -> Tensor:
    sides = min(GRID, *images.shape[-2:], *others.shape[-2:])
    gray = images.shape[1] != others.shape[1]
    first_ND, second_MD = (_described(each, sides, gray) for each in (images, others))
    near = torch.full((len(images),), -1)
    if len(others) < 2:
        return near
    square = second_MD.square().sum(1)
    for place in range(0, len(images), CHUNK):
        part = first_ND[place : place + CHUNK]
        distance = (part.square().sum(1, keepdim=True) - 2 * part @ second_MD.T + square).clamp(min=0).sqrt()
        closest = distance.topk(min(NEIGHBORS, len(others)), largest=False)
        least, like = closest.values[:, 0], closest.values[:, -1]
        length = part.norm(dim=1)
        for row in (
            ((least <= CLEAR * like) & (least <= CLOSE * length) & (length > FLAT * part.shape[1] ** 0.5))
            .nonzero()[:, 0]
            .tolist()
        ):
            original = int(closest.indices[row, 0])
            pair = images[place + row], others[original]
            allowed = max(*(SLACK * _change(image, sides, gray) for image in pair), LEAST * part.shape[1] ** 0.5)
            if float(least[row]) <= allowed:
                near[place + row] = original
    return near


def _change(image: Tensor, sides: int, gray: bool) -> float:
    """How far an image moves when it is saved anew; one that was saved so before hardly does."""
    before, after = _described(torch.stack([image, _saved_anew(image)]), sides, gray)
    return float((before - after).norm())


def _saved_anew(image: Tensor) -> Tensor:
    """A uint8 image ``[C,H,W]`` of 1 or 3 channels as JPEG leaves it; others as they are."""
    if len(image) not in (1, 3):
        return image
    pixels = image.permute(1, 2, 0).contiguous().cpu().numpy()
    saved = io.BytesIO()
    Image.fromarray(pixels[..., 0] if len(image) == 1 else pixels).save(saved, "JPEG", quality=QUALITY)
    again = torch.from_numpy(np.array(Image.open(saved)))
    return again.view(*image.shape[1:], -1).permute(2, 0, 1)


def _described(images: Tensor, sides: int, gray: bool) -> Tensor:
    """Means of places, without the image's own mean, float32 ``[N,D]`` in gray levels."""
    parts = []
    for part in images.cpu().split(CHUNK):
        pixels = part.float().mean(1, keepdim=True) if gray else part.float()
        means = interpolate(pixels, size=(sides, sides), mode="bilinear", antialias=True).flatten(1)
        parts.append(means - means.mean(1, keepdim=True))
    return torch.cat(parts)
