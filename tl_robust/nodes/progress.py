"""Callbacks that tell how far a training or an attack is."""

from __future__ import annotations

import atexit
import multiprocessing
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer

from tl_robust.nodes.hands import Advance, nothing


class Epochs(Callback):
    """Tells of each epoch; a process of several lets go of the others before it ends.

    Args:
        advance: Called with 1.
    """

    def __init__(self, advance: Advance) -> None:
        self._advance = advance

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Threads of a process group that is still there when Python ends would abort the process."""
        if multiprocessing.parent_process() is not None:
            atexit.register(_leave_group)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Tell of the epoch that is over."""
        self._advance(1)

    def __getstate__(self) -> dict[str, Any]:
        return {"_advance": nothing}  # another process has nobody to tell


class Tested(Callback):
    """Tells how many images of a test are done, after each batch.

    Args:
        advance: Called with its number of images.
    """

    def __init__(self, advance: Advance) -> None:
        self._advance = advance

    def on_test_batch_end(self, *arguments: Any, **named: Any) -> None:
        """Tell of the images of the batch that is over."""
        batch = arguments[3] if len(arguments) > 3 else named["batch"]
        self._advance(len(batch[0]))


def _leave_group() -> None:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
