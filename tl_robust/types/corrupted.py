"""What B says of images that were corrupted, by nobody or by somebody who looks at no model.

Axes: K strengths, N test images of the target.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tl_robust.types.record import Record, column


@dataclass(frozen=True)
class Corrupted(Record):
    """The record of every threat that :func:`tl_robust.threats.corruption.corruption` makes.

    Attributes:
        sample_id: int64 ``[N]``, place of the image in the target's test split.
        strength: float64 ``[K]``, strengths, rising.
        label: int64 ``[N]``, true class.
        clean: int64 ``[N]``, class that B gives to the image as it is; -1: none.
        corrupted: int64 ``[K,N]``, the same for the corrupted image.
    """

    AXIS = "strength"

    strength: Tensor = column("K", torch.float64)
    label: Tensor = column("N", torch.int64)
    clean: Tensor = column("N", torch.int64)
    corrupted: Tensor = column("K N", torch.int64)
