"""What two networks answer to images that nobody taught them: all that a callable or an endpoint lets one see.

On test images, networks that learned the same labels agree because of the labels. So they are asked about what has no
label: the same images inverted, or with their squares in another order, and noise. How similar the answers are is a
centered kernel alignment after ridge whitening (Kornblith et al., "Similarity of neural network representations revisited",
ICML 2019, has both), for which the classes of the two need not be the same.

Unrelated networks are similar, too, so that a single candidate tells nothing: it is compared with the others.

Axes: N images, L and K classes.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from tl_robust.models.features import logits
from tl_robust.seeding import generator

COUNT = 200  # questions of a kind
SQUARES = 4  # along a side, of an image that is shuffled
RIDGE = 0.1  # of the mean squared singular value


def questions(images: Tensor, seed: int) -> dict[str, Tensor]:
    """Images without labels by kind, uint8 ``[N,C,H,W]`` each, N at most 200.

    Args:
        images: Test images in the same form.
        seed: Of the draws.
    """
    plain = images[:COUNT]
    draw = generator("origin", seed)
    count, channels, height, width = plain.shape

    def noise(rows: int, columns: int) -> Tensor:
        values = torch.rand(count, channels, rows, columns, generator=draw)
        values = torch.nn.functional.interpolate(values, (height, width), mode="bilinear", align_corners=False)
        return values.mul(255).round().to(torch.uint8)

    return {
        "inverted": 255 - plain,
        "shuffled": _shuffled(plain, draw),
        "smooth": noise(min(8, height), min(8, width)),
        "noise": noise(height, width),
    }


def _shuffled(images: Tensor, draw: torch.Generator) -> Tensor:
    """Images whose squares are in one other order; a rest at the right and lower edges stays."""
    shuffled, order = images.clone(), torch.randperm(SQUARES**2, generator=draw)
    high, wide = images.shape[2] // SQUARES, images.shape[3] // SQUARES
    for place, source in enumerate(order.tolist()):
        (row, column), (top, left) = divmod(place, SQUARES), divmod(source, SQUARES)
        shuffled[:, :, row * high : (row + 1) * high, column * wide : (column + 1) * wide] = images[
            :, :, top * high : (top + 1) * high, left * wide : (left + 1) * wide
        ]
    return shuffled


def answers(network: nn.Module, asked: dict[str, Tensor]) -> list[Tensor] | None:
    """Whitened answers to each kind of question, ``[N,L]``; None where one is not finite."""
    said = [logits(network, images).double().cpu() for images in asked.values()]
    return [whitened(one) for one in said] if all(bool(one.isfinite().all()) for one in said) else None


def whitened(values_NL: Tensor) -> Tensor:
    """Centered columns, turned and scaled so that each direction counts alike, but those of little spread less."""
    u_NR, size_R, _ = torch.linalg.svd(values_NL - values_NL.mean(0), full_matrices=False)
    square_R = size_R.square()
    return u_NR * (square_R / (square_R + RIDGE * square_R.mean()).clamp(min=1e-24)).sqrt()


def similarity(one: list[Tensor], other: list[Tensor]) -> float:
    """Mean over the kinds of the alignment of two networks' answers, 0 to 1."""
    found = [_alignment(a_NL, b_NK) for a_NL, b_NK in zip(one, other, strict=True)]
    return sum(found) / len(found)


def _alignment(a_NL: Tensor, b_NK: Tensor) -> float:
    size = math.sqrt(float((a_NL.T @ a_NL).square().sum() * (b_NK.T @ b_NK).square().sum()))
    return float((a_NL.T @ b_NK).square().sum()) / size if size > 1e-12 else 0.0
