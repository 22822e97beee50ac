"""Means and variances over the shadows that learned from a sample, and over those that did not.

Axes: S shadows, N samples.
"""

from __future__ import annotations

import torch
from torch import Tensor


def mean_inside(values: Tensor, inside: Tensor) -> Tensor:
    """Mean over the shadows that learned from each sample, ``[N]``; NaN where there are none.

    Args:
        values: float64 ``[S,N]``.
        inside: Bool ``[S,N]``.
    """
    return torch.where(inside, values, torch.nan).nanmean(0)


def mean_outside(values: Tensor, inside: Tensor) -> Tensor:
    """Mean over the shadows that did not learn from each sample, ``[N]``; NaN where there are none."""
    return mean_inside(values, ~inside)


def variance_inside(values: Tensor, inside: Tensor) -> tuple[Tensor, Tensor]:
    """Unbiased variance over the shadows that learned from each sample, and their number; ``[N]`` each.

    NaN where there are fewer than two.
    """
    count = inside.sum(0)
    gaps = torch.where(inside, values - mean_inside(values, inside), 0.0)
    return gaps.square().sum(0) / (count - 1).clamp(min=0), count


def shared_variance(values: Tensor, inside: Tensor) -> Tensor:
    """One variance for all samples, around the mean of each (pooled, unbiased), ``[]``; NaN where none has two."""
    own, count = variance_inside(values, inside)
    weight = (count - 1).clamp(min=0)
    return (own.nan_to_num(0) * weight).sum() / weight.sum()
