"""The attack as a Lightning callback: craft on the module under test, judge every victim in the same pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn
from typing_extensions import override

from tl_robust.attacks import Attack, Judge
from tl_robust.attacks.norms import check_eps
from tl_robust.errors import ConfigError
from tl_robust.metrics import METRICS
from tl_robust.types import Outcome

# Keys under which batches that are dictionaries hold images and labels, in the order in which they are looked for.
IMAGES = ("image", "images", "pixel_values", "img", "x")
LABELS = ("label", "labels", "target", "targets", "y")


class TransferAttack(Callback):
    """Attacks during ``trainer.test(surrogate, target_test_set)``; ``outcomes`` then holds one Outcome for each victim.

    Use ``Trainer(inference_mode=False, devices=1)``, with any precision: each model computes in its own. A batch is
    ``(images, labels)``, ``(images, labels, sample ids)`` or a dictionary with ``image`` and ``label`` or other usual
    keys; images are in [0,1] or uint8. Samples without ids are numbered in order, so that no random draw depends on the
    batch size. Where the Trainer has loggers, they get one row for each eps, with ``eps`` and ``robust/<victim>``, the
    victim's accuracy under attack.

    Args:
        attack: The attack.
        victims: Networks by name; they are moved to the surrogate's device. An empty mapping judges the surrogate
            itself (white-box), under the name ``surrogate``.
        eps: Sizes in [0,1] pixel units.
        seed: Seed of the attack's random draws.
        same_labels: Whether the surrogate has the test set's classes; if not, its own predictions stand for labels.
        early: Whether iterative attacks may stop at the first images that fool the surrogate. None lets them where the
            surrogate is the only victim.
        pool: Images ``[M,C,H,W]`` in [0,1] and labels that attacks may learn from; None takes the first batch.
        strict: Refuse a model whose logits are not finite on clean images; see :class:`Judge`.
        through: How gradients pass a defense that guards the surrogate, a name of ``attacks/through``.

    Raises:
        ConfigError: Victims are no names with models; in a test: several processes, or ids that come twice.
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

    @override
    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
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

    @override
    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        assert self._judge is not None
        images, labels, sample_id = read_batch(batch, self._counted)
        self._judge.update(images, labels, sample_id)
        self._counted += len(images)

    @override
    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
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
        for place, eps in enumerate(self.eps):
            row = {"eps": eps} | {f"robust/{name}": float(curve[place]) for name, curve in curves.items()}
            for logger in trainer.loggers:
                logger.log_metrics(row)


def read_batch(batch: Any, start: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Images, labels and sample ids of a test batch; where it has no ids, they count from ``start``.

    Raises:
        ConfigError: The batch has another form.
    """
    items: list[Any]
    if isinstance(batch, Mapping):
        named = [next((batch[key] for key in keys if key in batch), None) for keys in (IMAGES, LABELS, ("sample_id",))]
        items = named if named[2] is not None else named[:2]
        form = f"a dictionary of {', '.join(map(str, list(batch)[:8])) or 'nothing'}"
    else:
        items = list(batch) if isinstance(batch, tuple | list) else []
        kinds = ", ".join(
            f"{item.dtype} {list(item.shape)}" if isinstance(item, Tensor) else type(item).__name__
            for item in items[:8]
        )
        form = f"a {type(batch).__name__} of {kinds}" if items else type(batch).__name__
    if len(items) == 2 and isinstance(items[0], Tensor):
        items.append(torch.arange(start, start + len(items[0]), device=items[0].device))
    if len(items) != 3 or not all(isinstance(item, Tensor) for item in items) or items[2].dtype != torch.int64:
        raise ConfigError(
            "TransferAttack takes batches of (images, labels), (images, labels, int64 sample ids) or a dictionary with "
            f"'image' and 'label', got {form}: give them in this form, for example by the loader's collate_fn."
        )
    images, labels, sample_id = items
    return images, labels, sample_id
