"""What logits say of a sample: how far its label is from another class."""

import torch
from torch import Tensor


def margin(logits: Tensor, label: Tensor) -> Tensor:
    """Largest logit of another class minus that of ``label``, ``[N]``."""
    return logits.scatter(1, label[:, None], -torch.inf).amax(1) - logits.gather(1, label[:, None]).squeeze(1)
