"""Layers that normalize activations: over a batch, or within each image."""

from __future__ import annotations

from torch import nn

from tl_robust.errors import UnknownNameError

NORMS = ("batch", "group")


def normalization(norm: str, channels: int, flat: bool = False) -> nn.Module:
    """BatchNorm, or GroupNorm, which needs no other image and so goes with differential privacy.

    A group has at least four channels where there are so many: one of a single value would be constant.

    Args:
        norm: ``batch`` or ``group``.
        channels: Number of channels.
        flat: For ``[N,C]`` instead of ``[N,C,H,W]``.
    """
    if norm not in NORMS:
        raise UnknownNameError("norm of a network", norm, NORMS)
    if norm == "batch":
        return nn.BatchNorm1d(channels) if flat else nn.BatchNorm2d(channels)
    counts = (count for count in range(32, 0, -1) if channels % count == 0 and channels // count >= 4)
    return nn.GroupNorm(next(counts, 1), channels)
