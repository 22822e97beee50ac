"""Strategies: how the surrogate A and the victim B come to be, as LightningModules."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from tl_robust.registry import Component, Scalar, check_settings
from tl_robust.strategies.base import STRATEGIES, TransferTask
from tl_robust.strategies.forest import Train
from tl_robust.types import Recipe


def get(
    name: str, network: nn.Module | Mapping[str, Any], recipe: Recipe, classes: int, **settings: Scalar
) -> TransferTask:
    """One training by the strategy of a name, for any Trainer.

    Args:
        name: Registered name.
        network: Images in [0,1] to logits; its weights are the random start.
        recipe: Optimizer, schedule and choice of the epoch.
        classes: Number of logits.
        settings: Those of the strategy, for example ``mode="probe"``.

    Raises:
        UnknownNameError: No such strategy or setting; the message shows the closest.
        ConfigError: A setting of the wrong type or outside its range.
    """
    kind = STRATEGIES[name]
    return kind(network, recipe, classes, **check_settings(f"strategy {name!r}", kind, settings))


def trained_by(own: Component, by: str | Component | None, root: bool) -> Component:
    """The strategy whose hooks train a node of the forest, with the settings that they get; see :class:`Train`.

    Args:
        own: The cell's strategy.
        by: What its lineage says.
        root: Whether the training has no parent.

    Raises:
        UnknownNameError: No such strategy or setting.
        ConfigError: A setting of the wrong type.
    """
    if isinstance(by, Component):
        return STRATEGIES.component(by.name, dict(by.settings))
    return STRATEGIES.component(by or ("scratch" if root else "finetune"), {} if root else dict(own.settings))


def names() -> list[str]:
    """All strategies."""
    return STRATEGIES.names()


__all__ = ["STRATEGIES", "Train", "TransferTask", "get", "names", "trained_by"]
