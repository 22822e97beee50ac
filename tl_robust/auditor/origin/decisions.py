"""What two networks answer to noise: all that a callable or an endpoint lets one see.

On images that have labels, networks that learned these agree because of the labels. So they are asked about noise,
which nobody taught them. How similar the answers are is a centered kernel alignment after ridge whitening (Kornblith et
al., "Similarity of neural network representations revisited", ICML 2019); the classes of the two may differ.

Unrelated networks are similar, too, so that one candidate alone tells nothing. What counts is the margin of the closest
over the next. Its posterior is a logistic regression over the audits of the first seeds of the lineage bench, in which
about as many models have a parent among the candidates as have none (``experiments/lineage``; ``docs/lineage.md`` has
the calibration on other seeds).

Axes: N images, L and K classes, C channels, H height, W width.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from tl_robust.models.features import logits
from tl_robust.seeding import generator

COUNT = 400  # images of noise
RIDGE = 0.1  # of the mean squared singular value
BASE, SLOPE = -3.2, 22.6  # of the log odds that the closest is the parent, by the margin
CLAIMED = 0.15  # margin from which a parent is claimed


def questions(image_shape: tuple[int, int, int], seed: int) -> Tensor:
    """Images of noise, uint8 ``[N,C,H,W]``, each value as likely as any other."""
    draw = generator("origin", seed)
    return torch.randint(0, 256, (COUNT, *image_shape), generator=draw, dtype=torch.uint8)


def answers(network: nn.Module, asked: Tensor) -> Tensor | None:
    """Whitened logits, float64 ``[N,R]``; None where one is not finite."""
    said_NL = logits(network, asked).double().cpu()
    return whitened(said_NL) if bool(said_NL.isfinite().all()) else None


def whitened(values_NL: Tensor) -> Tensor:
    """Centered columns, turned and scaled so that each direction counts alike, but those of little spread less.

    The shape is ``[N,R]``, where R is the rank, at most.
    """
    u_NR, size_R, _ = torch.linalg.svd(values_NL - values_NL.mean(0), full_matrices=False)
    square_R = size_R.square()
    return u_NR * (square_R / (square_R + RIDGE * square_R.mean()).clamp(min=1e-24)).sqrt()


def similarity(a_NL: Tensor, b_NK: Tensor) -> float:
    """Linear centered kernel alignment, 0 to 1, of values whose columns are centered."""
    size = math.sqrt(float((a_NL.T @ a_NL).square().sum() * (b_NK.T @ b_NK).square().sum()))
    return float((a_NL.T @ b_NK).square().sum()) / size if size > 1e-12 else 0.0


def posterior(margin: float) -> float:
    """How likely the closest candidate is the parent, by its margin over the next."""
    return 1 / (1 + math.exp(-(BASE + SLOPE * margin)))
