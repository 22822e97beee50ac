"""Whether a defense can join in a training, before anything is computed."""

from __future__ import annotations

import torch

from tl_robust.defenses import Defense, build
from tl_robust.errors import ConfigError
from tl_robust.nodes.training import Training


def check_joining(training: Training) -> None:
    """Ask the defense of a training whether it can join in it.

    Raises:
        ConfigError: It cannot.
    """
    defense = build(training.defense) if training.defense else None
    if defense is None or all(type(part).check is Defense.check for part in defense.parts):
        return
    if training.poison and training.poison.adds:
        raise ConfigError(f"backdoor {training.poison.backdoor} adds to the loss, which {defense} must have alone.")
    with torch.device("meta"):  # shapes, and what is frozen, without memory and random draws
        task, inherited = training.begun(dict(training.parent.build().state_dict()) if training.parent else None)
        task.initialize(inherited)
    task.on_train_epoch_start()
    defense.check(task, training.learned, dict(training.trainer))
