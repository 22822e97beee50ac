"""Means and variances over the shadows that learned from a sample, and over those that did not.

Axes: S shadows, N samples.
"""

from __future__ import annotations

import torch
from torch import Tensor


def mean_inside(values: Tensor, inside: Tensor) -> Tensor:
    """Mean over the shadows that learned from each sample, ``[N]``; NaN where there are none, or one of them is NaN.

    Args:
        values: float64 ``[S,N]``.
        inside: Bool ``[S,N]``.
    """
    return torch.where(inside, values, 0.0).sum(0) / inside.sum(0)


def mean_outside(values: Tensor, inside: Tensor) -> Tensor:
    """Mean over the shadows that did not learn from each sample, ``[N]``; NaN where there are none."""
    return mean_inside(values, ~inside)


def variance_inside(values: Tensor, inside: Tensor) -> tuple[Tensor, Tensor]:
    """Unbiased variance over the shadows that learned from each sample, and their number; ``[N]`` each.

    NaN where there are fewer than two, or one of them is NaN.
    """
    count = inside.sum(0)
    gaps = torch.where(inside, values - mean_inside(values, inside), 0.0)
    return gaps.square().sum(0) / (count - 1).clamp(min=0), count


def shared_variance(values: Tensor, inside: Tensor) -> Tensor:
    """One variance for all samples, around the mean of each (pooled, unbiased), ``[]``.

    NaN where no sample has two shadows, or one of these is NaN.
    """
    own, count = variance_inside(values, inside)
    weight = (count - 1).clamp(min=0)
    return torch.where(weight > 0, own * weight, 0.0).sum() / weight.sum()


def log_mean_inside(values: Tensor, inside: Tensor) -> Tensor:
    """Logarithm of the mean of ``exp(values)`` over the shadows that learned from each sample, ``[N]``.

    It stays finite where all of these are too small for a float. NaN as :func:`mean_inside`.
    """
    count = inside.sum(0)
    total = torch.where(inside, values, -torch.inf).logsumexp(0)
    return torch.where(count > 0, total - count.log(), torch.nan)
