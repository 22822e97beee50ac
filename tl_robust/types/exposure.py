"""How a membership inference scored every sample, and which samples each model had learned from.

Axes: K epochs of the last training, M models, N samples of the pool, Z samples of the test split. Models 2i and 2i + 1
are pair i: by fair coins each sample was learned by one of them and not by the other.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tl_robust.types.record import Record, column


@dataclass(frozen=True)
class Exposure(Record):
    """The record of membership: scores of all models of a cohort, each attacked with shadows of the other pairs.

    Attributes:
        sample_id: int64 ``[N]``, place of the sample in the training split that halves were drawn from.
        epochs: float64 ``[K]``, epochs that the victims have been trained for, rising; 0 is what they start from.
        label: int64 ``[N]``, the label that was learned; of canaries a wrong one.
        canary: Bool ``[N]``, the label was made wrong.
        member: Bool ``[M,N]``, the model, or on the side ``source`` its parent, learned from the sample.
        score: float64 ``[K,M,N]``, larger: more likely a member. NaN where the inference has no answer.
        right: Bool ``[K,M,N]``, the model gives the label.
        null_member: Bool ``[M,Z]``, coins made up for the test split, which no model learned from.
        null_score: float64 ``[K,M,Z]``, what the same inference says of them.
        test_right: Bool ``[K,M,Z]``, the model is right on the test split.
        shadow_right: Bool ``[K,M,Z]``, so are the shadows of the same halves; those of the victims where it needs none.
        shadows: int64 ``[]``, shadows for each model; 0 where the inference needs none.
        claim: float64 ``[2]``, epsilon and delta of differential privacy that a defense claims; zeros without one.
    """

    AXIS = "epochs"

    epochs: Tensor = column("K", torch.float64)
    label: Tensor = column("N", torch.int64)
    canary: Tensor = column("N", torch.bool)
    member: Tensor = column("M N", torch.bool)
    score: Tensor = column("K M N", torch.float64)
    right: Tensor = column("K M N", torch.bool)
    null_member: Tensor = column("M Z", torch.bool)
    null_score: Tensor = column("K M Z", torch.float64)
    test_right: Tensor = column("K M Z", torch.bool)
    shadow_right: Tensor = column("K M Z", torch.bool)
    shadows: Tensor = column("", torch.int64)
    claim: Tensor = column("E", torch.float64)
