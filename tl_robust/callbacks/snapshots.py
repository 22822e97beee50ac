"""Weights of one fit at several of its epochs, so that what happens along a training can be measured afterwards."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor
from typing_extensions import override

from tl_robust.errors import ConfigError
from tl_robust.models.module import NetworkModule
from tl_robust.types import Recipe


class Snapshots(Callback):
    """Copies the network's weights during ``trainer.fit`` and changes nothing about the fit.

    ``states`` then holds a state dict of the network, on the CPU, for each of ``epochs``. Epoch 0 is what a fit starts
    from; epoch e is what validation saw after e epochs, so that the snapshot of the chosen epoch equals the weights
    that the training keeps. A checkpoint carries the snapshots taken so far, and a resumed fit goes on with them.

    Args:
        epochs: Which epochs, from 0 to the last of the fit. Without any the callback costs nothing.

    Raises:
        ConfigError: An epoch is below 0; in a fit: it goes on after an epoch of which its checkpoint has no snapshot.
    """

    def __init__(self, epochs: Collection[int]) -> None:
        self.epochs = frozenset(epochs)
        self.states: dict[int, Mapping[str, Tensor]] = {}
        if self.epochs and min(self.epochs) < 0:
            raise ConfigError(f"snapshots are of epochs from 0 on, got {min(self.epochs)}.")

    def check(self, last: int, processes: int = 1) -> None:
        """Check that a fit can take these snapshots. Call it before a fit in several processes, where errors get lost.

        Args:
            last: Last epoch of the fit.
            processes: How many processes train.

        Raises:
            ConfigError: An epoch comes after the last, or the copies would stay in processes that end with the fit.
        """
        if self.epochs and max(self.epochs) > last:
            raise ConfigError(
                f"a snapshot after epoch {max(self.epochs)} is asked for, but the training ends after epoch {last}: "
                "ask for earlier ones or raise recipe.epochs."
            )
        if self.epochs and processes > 1:
            raise ConfigError(f"snapshots need one device (trainer.devices=1), got {processes} processes.")

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit" and self.epochs:
            recipe = getattr(pl_module, "recipe", None)
            last = recipe.epochs if isinstance(recipe, Recipe) else trainer.max_epochs
            self.check(last or max(self.epochs), trainer.world_size)
            self.states = {}  # forget an earlier fit; a checkpoint is read after this

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.global_step == 0:
            self._take(0, pl_module)
        missed = {epoch for epoch in self.epochs if epoch <= trainer.current_epoch} - self.states.keys()
        if missed:
            raise ConfigError(
                f"this fit goes on after epoch {trainer.current_epoch}, and its checkpoint has no snapshot of epoch "
                f"{min(missed)}: begin anew, or ask for later ones."
            )

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Copy the weights that were validated, before ModelCheckpoint, which Lightning calls last, writes its file."""
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking and trainer.is_last_batch:
            self._take(trainer.current_epoch + 1, pl_module)

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._take(trainer.current_epoch + 1, pl_module)  # where the epoch had no validation

    def _take(self, epoch: int, module: LightningModule) -> None:
        if epoch in self.epochs and epoch not in self.states:
            assert isinstance(module, NetworkModule)
            state = module.network.state_dict()
            self.states[epoch] = {name: value.detach().to("cpu", copy=True) for name, value in state.items()}

    @override
    def state_dict(self) -> dict[str, Any]:
        return {"states": self.states} if self.states else {}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.states = {epoch: state for epoch, state in state_dict["states"].items() if epoch in self.epochs}
