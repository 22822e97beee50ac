"""Outcomes with classes as a test wants them."""

from __future__ import annotations

import torch
from torch import Tensor

from tl_robust.types import Outcome

EPS = torch.tensor([0, 8], dtype=torch.float64) / 255


def made(label: Tensor, clean_b: Tensor, adv_b: Tensor | None = None, **change: Tensor) -> Outcome:
    """An outcome of one model at eps 0 and 8/255; without ``adv_b [2,N]`` nothing is fooled."""
    n, adv = len(label), clean_b.repeat(2, 1) if adv_b is None else adv_b
    given = {
        "sample_id": torch.arange(n), "label": label, "clean_a": clean_b, "clean_b": clean_b, "adv_a": adv,
        "adv_b": adv, "size": EPS[:, None].float().repeat(1, n), "eps": EPS,
        "zero_gradient": torch.zeros(n, dtype=torch.bool), "valid": torch.ones(2, n, dtype=torch.bool),
        "same_labels": torch.ones(n, dtype=torch.bool),
    }  # fmt: skip
    return Outcome(**given | change)


def labels(count: int, classes: int) -> Tensor:
    """Balanced, in turn."""
    return torch.arange(count) % classes


def answers(label: Tensor, right: int, classes: int, seed: int = 0) -> Tensor:
    """Classes of which the first ``right`` are right, and all others wrong at random."""
    other = torch.randint(1, classes, label.shape, generator=torch.Generator().manual_seed(seed))
    return torch.where(torch.arange(len(label)) < right, label, (label + other) % classes)
