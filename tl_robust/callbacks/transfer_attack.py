"""The attack as a Lightning callback: craft on the module under test, judge every victim in the same pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn

from tl_robust.attacks import Attack, Judge
from tl_robust.attacks.norms import check_eps
from tl_robust.errors import ConfigError
from tl_robust.metrics import METRICS
from tl_robust.types import Outcome

IMAGES = ("image", "images", "pixel_values", "img", "x")  # how dictionaries name them
LABELS = ("label", "labels", "target", "targets", "y")


class TransferAttack(Callback):
    """Attacks during ``trainer.test(surrogate, target_test_set)``; ``outcomes`` then holds one Outcome a victim.

    Use ``Trainer(inference_mode=False, devices=1)``, in any precision: each model is asked in its own. A batch is
    ``(images, labels)``, ``(images, labels, sample ids)`` or a dictionary of ``image`` and ``label`` (plural, and
    ``pixel_values``, too), images in [0,1] or uint8. Samples without ids are counted: no random draw depends
    on the batch size. Where the Trainer has loggers, each eps is one row with ``eps``
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
        strict: Refuse a model whose logits are not finite on clean images; see :class:`Judge`.
        through: What gradients are taken of where the surrogate is guarded by a defense, a name of ``attacks/through``.
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
        strict: bool = True,
        through: str = "exact",
    ) -> None:
        if not isinstance(victims, Mapping):
            raise ConfigError(f"victims must be names and models, such as {{'b': b}}, got {type(victims).__name__}.")
        self.attack = attack
        self.victims = dict(victims)
        self.eps = check_eps(eps, attack.norm)
        self.seed = seed
        self.same_labels = same_labels
        self.early = early
        self.pool = pool
        self.strict = strict
        self.through = through
        self.outcomes: dict[str, Outcome] = {}
        self._judge: Judge | None = None
        self._counted = 0

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
            self.attack, pl_module, victims, self.eps, self.seed, self.same_labels, self.early, self.pool, self.strict,
            self.through,
        )  # fmt: skip
        self._counted = 0

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Craft and judge one batch."""
        assert self._judge is not None
        images, labels, sample_id = read_batch(batch, self._counted)
        self._judge.update(images, labels, sample_id)
        self._counted += len(images)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Sum up, and log one row per eps."""
        assert self._judge is not None
        outcomes = self._judge.outcomes()
        for outcome in outcomes.values():
            if len(outcome.sample_id.unique()) < len(outcome.sample_id):
                raise ConfigError(
                    "TransferAttack needs an id of its own for each sample as a batch's third part, and some came "
                    "twice: give unique ids, or (images, labels) alone, which are counted."
                )
        self.outcomes = outcomes
        curves = {name: METRICS["robust_accuracy"](outcome) for name, outcome in self.outcomes.items()}
        for logger in trainer.loggers:
            for place, eps in enumerate(self.eps):
                logger.log_metrics(
                    {"eps": eps} | {f"robust/{name}": float(curve[place]) for name, curve in curves.items()}
                )


def read_batch(batch: Any, start: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Images, labels and sample ids of a test batch; where it has no ids, they count from ``start``.

    Raises:
        ConfigError: It is no such batch.
    """
    parts: list[Any]
    if isinstance(batch, Mapping):
        named = [next((batch[key] for key in keys if key in batch), None) for keys in (IMAGES, LABELS, ("sample_id",))]
        parts = named if named[2] is not None else named[:2]
        form = f"a dictionary of {', '.join(map(str, list(batch)[:8])) or 'nothing'}"
    else:
        parts = list(batch) if isinstance(batch, tuple | list) else []
        kinds = ", ".join(
            f"{part.dtype} {list(part.shape)}" if isinstance(part, Tensor) else type(part).__name__
            for part in parts[:8]
        )
        form = f"a {type(batch).__name__} of {kinds}" if parts else type(batch).__name__
    if len(parts) == 2 and isinstance(parts[0], Tensor):
        parts.append(torch.arange(start, start + len(parts[0]), device=parts[0].device))
    if len(parts) != 3 or not all(isinstance(part, Tensor) for part in parts) or parts[2].dtype != torch.int64:
        raise ConfigError(
            "TransferAttack takes batches of (images, labels), (images, labels, int64 sample ids) or a dictionary with "
            f"'image' and 'label', got {form}: give them in this form, for example by the loader's collate_fn."
        )
    images, labels, sample_id = parts
    return images, labels, sample_id
