"""Which options of the Lightning Trainer a bench may set."""

from __future__ import annotations

import inspect
from typing import Any

from lightning import Trainer

from tl_robust.errors import ConfigError, UnknownNameError
from tl_robust.registry import Scalar

OWN_TRAINER_OPTIONS = {
    "max_epochs": "recipe.epochs",
    "min_epochs": "recipe.epochs",
    "logger": "wandb",
    "callbacks": "a plugin strategy",
    "inference_mode": "nothing: attacks need gradients",
    "enable_checkpointing": "nothing: the store keeps weights",
    "enable_progress_bar": "--plain",
    "enable_model_summary": "nothing",
    "num_sanity_val_steps": "nothing",
    "default_root_dir": "results",
}


def trainer_options(options: dict[str, Any]) -> dict[str, Scalar]:
    """The options, if a bench may set them.

    Raises:
        ConfigError: No such option, or one that the suite sets itself.
    """
    known = set(inspect.signature(Trainer.__init__).parameters) - {"self"}
    for name in options:
        if name in OWN_TRAINER_OPTIONS:
            raise ConfigError(f"trainer.{name} is set by the suite; use {OWN_TRAINER_OPTIONS[name]}.")
        if name not in known:
            raise UnknownNameError("option of trainer", name, known - OWN_TRAINER_OPTIONS.keys())
    return options
