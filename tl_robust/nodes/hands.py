"""What nodes compute with: a quiet Trainer, and random numbers that leave no trace."""

from __future__ import annotations

import logging
import os
import signal
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tl_robust.errors import ConfigError
from tl_robust.nodes.allocator import keep_freed_memory
from tl_robust.registry import Scalar
from tl_robust.types import ImageSet

if TYPE_CHECKING:
    from lightning import Callback, Trainer

Advance = Callable[[int], None]
Pixels = tuple[Tensor, Tensor]


def nothing(work: int) -> None:
    """Stand in for whoever would be told of progress, where nobody is."""


@dataclass(frozen=True)
class Hands:
    """Computes with one set of Trainer options.

    Attributes:
        options: Options of the Lightning Trainer.
        attack_batch: Images an attack works on at a time; 0: measured.
        advance: Told of work that is done: 1 after each epoch, the number of images after each batch of an attack.
    """

    options: Mapping[str, Scalar]
    attack_batch: int
    advance: Advance = nothing

    def tester(self, callbacks: list[Callback]) -> AbstractContextManager[Trainer]:
        """A Trainer for tests, on one device, in which gradients can be taken."""
        options = {name: value for name, value in self.options.items() if name in ("accelerator", "deterministic")}
        return self.trainer(callbacks, inference_mode=False, devices=1, **options)

    @contextmanager
    def trainer(self, callbacks: list[Callback], **options: Any) -> Iterator[Trainer]:
        """A quiet Trainer on one CPU thread; Ctrl-C inside reaches the caller as KeyboardInterrupt."""
        # slow to import, and not every node needs it
        from lightning import Trainer
        from lightning.fabric.utilities.exceptions import MisconfigurationException
        from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher

        with _process_restored(), warnings.catch_warnings():
            for category in (UserWarning, FutureWarning):
                warnings.filterwarnings("ignore", category=category, module="lightning")
            logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
            # processes share the work instead: faster for small networks, and the same numbers on any number of cores
            torch.set_num_threads(1)
            keep_freed_memory()
            handler = signal.getsignal(signal.SIGINT)
            try:
                trainer = Trainer(
                    callbacks=callbacks,
                    logger=False,
                    enable_checkpointing=False,
                    enable_progress_bar=False,
                    enable_model_summary=False,
                    num_sanity_val_steps=0,
                    **({"deterministic": True, "devices": 1} | options),
                )
            except (MisconfigurationException, ValueError, TypeError) as error:
                cause = " ".join(str(error).split())
                raise ConfigError(f"the Trainer refuses these trainer options: {cause}") from error
            if isinstance(trainer.strategy.launcher, _SubprocessScriptLauncher) and trainer.num_devices > 1:
                raise ConfigError(
                    f"trainer.devices={trainer.num_devices} would start the whole command again for each device: "
                    "use trainer.strategy=ddp_spawn."
                )
            torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
            try:
                yield trainer
            except SystemExit as stopped:  # Lightning turns Ctrl-C into this, and ignores the next one
                signal.signal(signal.SIGINT, handler)
                if isinstance(stopped.__context__, KeyboardInterrupt):
                    raise KeyboardInterrupt from stopped
                raise


def pixels(images: ImageSet) -> Pixels:
    """Images in [0,1] and labels."""
    return images.images.to(torch.float32).div_(255), images.labels


@contextmanager
def _process_restored() -> Iterator[None]:
    """Leave threads, determinism, process group, logging and environment as they were before a training."""
    log, memory = logging.getLogger("lightning.pytorch"), torch.utils.deterministic
    level, threads, environment = log.level, torch.get_num_threads(), dict(os.environ)
    deterministic = torch.are_deterministic_algorithms_enabled()
    fill = memory.fill_uninitialized_memory  # type: ignore[attr-defined]
    grouped = torch.distributed.is_available() and torch.distributed.is_initialized()
    try:
        yield
    finally:
        log.setLevel(level)
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(deterministic)
        memory.fill_uninitialized_memory = fill  # type: ignore[attr-defined]
        if not grouped and torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
        for name in os.environ.keys() - environment.keys():
            del os.environ[name]


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw from torch's global generators as after this seed; they are left as they were."""
    with torch.random.fork_rng(range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        yield
