"""What one model says of every sample that it may have learned from.

Axes: K epochs of its last training, N samples of the pool, Z samples of the test split, L classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tl_robust.types.record import Record, column


@dataclass(frozen=True)
class Signals(Record):
    """Logits of one model along its training. Every inference is computed from them, so a new one asks no model again.

    Attributes:
        sample_id: int64 ``[N]``, place of the sample in the training split that halves were drawn from.
        epochs: float64 ``[K]``, epochs that the model has been trained for, rising; 0 is what it starts from.
        label: int64 ``[N]``, the label that it was learned with; of canaries a wrong one.
        logits: float32 ``[K,N,L]``.
        test_label: int64 ``[Z]``, true classes of the test split, which no model learned from.
        test_logits: float32 ``[K,Z,L]``.
    """

    AXIS = "epochs"

    epochs: Tensor = column("K", torch.float64)
    label: Tensor = column("N", torch.int64)
    logits: Tensor = column("K N L", torch.float32)
    test_label: Tensor = column("Z", torch.int64)
    test_logits: Tensor = column("K Z L", torch.float32)
