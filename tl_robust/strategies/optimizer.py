"""The optimizer and the schedule that a recipe describes."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn
from torch.optim import SGD
from torch.optim.lr_scheduler import LRScheduler, MultiStepLR, StepLR

from tl_robust.types import Recipe


def optimizer_of(recipe: Recipe, parameters: Iterable[nn.Parameter]) -> tuple[SGD, LRScheduler]:
    """SGD, and a schedule that lowers its rate in steps: after chosen epochs, or every so many."""
    optimizer = SGD(
        parameters, lr=recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay, nesterov=recipe.nesterov
    )
    if recipe.lr_at:
        return optimizer, MultiStepLR(optimizer, recipe.lr_at, recipe.lr_factor)
    return optimizer, StepLR(optimizer, recipe.lr_every, recipe.lr_factor)
