"""The optimizer and the schedule that a recipe describes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD
from torch.optim.lr_scheduler import LRScheduler, MultiStepLR, StepLR

from tl_robust.defenses import Defense
from tl_robust.types import Recipe


def hand_over(task: Any, defense: Defense) -> None:
    """Let a defense draw in a fit that starts, and take its steps if it does; a schedule goes on inside."""
    steps = "optimizer" in defense.acts
    if task.defense_seed < 0:
        copy = torch.Generator().set_state(torch.get_rng_state())  # one that only draws leaves order and dropout
        task.defense_seed = int(torch.randint(1 << 62, (), generator=None if steps else copy))
    if not steps:
        return
    strategy = task.trainer.strategy
    batches, seed = task.trainer.train_dataloader, task.defense_seed
    strategy.optimizers = [defense.optimizer(task, inner, batches, seed) for inner in strategy.optimizers]


def nothing(network: nn.Module) -> Tensor:
    """The loss of no sample: 0, with gradients that are 0."""
    return torch.stack([0 * weight.sum() for weight in network.parameters() if weight.requires_grad]).sum()


def optimizer_of(recipe: Recipe, parameters: Iterable[nn.Parameter]) -> tuple[SGD, LRScheduler]:
    """SGD, and a schedule that lowers its rate in steps: after chosen epochs, or every so many."""
    optimizer = SGD(
        parameters, lr=recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay, nesterov=recipe.nesterov
    )
    if recipe.lr_at:
        return optimizer, MultiStepLR(optimizer, recipe.lr_at, recipe.lr_factor)
    return optimizer, StepLR(optimizer, recipe.lr_every, recipe.lr_factor)
