"""How much better a model is on what it learned from."""

import torch
from torch import Tensor

from tl_robust.metrics.pairs import by_role, gap, gap_kinds, over_pairs
from tl_robust.types import Exposure


@over_pairs(kinds=gap_kinds, formula=gap, signed=True)
def train_gap(record: Exposure) -> Tensor:
    """Accuracy on members less that on non-members, which an attacker has who only looks whether the model is right."""
    return torch.cat(by_role(record.right.double(), record.member), 1)
