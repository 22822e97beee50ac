"""The attack as a Lightning callback: craft on the module under test, judge every victim in the same pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn

from tl_robust.attacks import Attack, Judge
from tl_robust.errors import ConfigError
from tl_robust.metrics import METRICS
from tl_robust.types import Outcome


class TransferAttack(Callback):
    """Attacks during ``trainer.test(surrogate, target_test_set)``; ``outcomes`` then holds one Outcome a victim.

    Use ``Trainer(inference_mode=False, devices=1)``. Where the Trainer has loggers, each eps is one row with ``eps``
    and ``robust/<victim>``, the victim's accuracy under attack.

    Args:
        attack: The attack.
        victims: Name to network; moved to the surrogate's device. An empty mapping judges the surrogate itself, under
            the name ``surrogate`` (white-box).
        eps: Sizes in [0,1] pixel units.
        seed: Seed of the attack's random draws.
        same_labels: The surrogate names classes as the test set does; if not, its own predictions stand for labels.
        early: Iterative attacks may stop at the first images that fool the surrogate. None: if it is the only victim.
        pool: Images ``[M,C,H,W]`` in [0,1] and labels that attacks may learn from; None: the first batch.
    """

    def __init__(
        self,
        attack: Attack,
        victims: Mapping[str, nn.Module],
        eps: Sequence[float],
        seed: int = 0,
        same_labels: bool = True,
        early: bool | None = None,
        pool: tuple[Tensor, Tensor] | None = None,
    ) -> None:
        self.attack = attack
        self.victims = dict(victims)
        self.eps = list(eps)
        self.seed = seed
        self.same_labels = same_labels
        self.early = early
        self.pool = pool
        self.outcomes: dict[str, Outcome] = {}
        self._judge: Judge | None = None

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Bring the victims to the surrogate's device."""
        if trainer.world_size > 1:
            raise ConfigError(
                f"TransferAttack needs devices=1 to see every sample, got {trainer.world_size} processes."
            )
        for victim in self.victims.values():
            victim.to(pl_module.device)
        victims: Mapping[str, nn.Module] = self.victims or {"surrogate": pl_module}
        self._judge = Judge(
            self.attack, pl_module, victims, self.eps, self.seed, self.same_labels, self.early, self.pool
        )

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: tuple[Tensor, Tensor, Tensor],
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Craft and judge one batch ``(images, labels, sample ids)``."""
        assert self._judge is not None
        self._judge.update(*batch)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Sum up, and log one row per eps."""
        assert self._judge is not None
        self.outcomes = self._judge.outcomes()
        curves = {name: METRICS["robust_accuracy"](outcome) for name, outcome in self.outcomes.items()}
        for logger in trainer.loggers:
            for place, eps in enumerate(self.eps):
                logger.log_metrics(
                    {"eps": eps} | {f"robust/{name}": float(curve[place]) for name, curve in curves.items()}
                )
