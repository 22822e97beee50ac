"""B starts from A."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Self

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from typing_extensions import override

from tl_robust.defenses import Defense
from tl_robust.errors import ConfigError, UnknownNameError
from tl_robust.models import copy_fitting
from tl_robust.models.base import blocks as blocks_of
from tl_robust.models.base import classifier_names
from tl_robust.strategies.base import OWN, STRATEGIES, TransferTask
from tl_robust.strategies.forest import D, M, Train
from tl_robust.strategies.low_rank import LowRank, State, attention_weights
from tl_robust.strategies.optimizer import optimizer_of
from tl_robust.types import Recipe

MODES = ("full", "frozen_bn", "probe", "probe_full", "lora", "bitfit")
RANK, ALPHA = 8, 16.0
FEW = ("probe", "probe_full", "lora", "bitfit")  # train the classifier and, of the rest, nothing or little
CLASSIFIERS = ("copied", "fresh")


@STRATEGIES.register
class FineTune(TransferTask):
    """A is trained on the source; B starts from A's weights and is trained on the target.

    Every tensor whose shape fits is copied, BatchNorm statistics and, for equal label sets, the classifier included.
    The mode says what is trained then; ``full`` is what the paper's code does.

    | mode | trained | BatchNorm statistics | dropout |
    |---|---|---|---|
    | ``full`` | everything | go on from the parent's | on |
    | ``frozen_bn`` | everything but BatchNorm's parameters | the parent's | on |
    | ``probe`` | the classifier | the parent's | off |
    | ``probe_full`` | half of the epochs (rounded up) as ``probe``, then as ``full`` | so | so |
    | ``lora`` | the classifier, and in attention a change of low rank of linear layers | the parent's | off |
    | ``bitfit`` | the classifier, and every bias | the parent's | off |

    Frozen blocks are as the parent's in every mode: weights and statistics fixed, dropout off. At a root nothing is
    frozen. ``lora`` is :class:`tl_robust.strategies.low_rank.LowRank`, ``bitfit`` is of Ben Zaken et al., "BitFit", ACL
    2022; weights have their usual names in both, and what ``lora`` changed is merged. ``recipe.select`` chooses among
    all epochs, those of the probe included.

    Args:
        network: See :class:`TransferTask`.
        recipe: The same.
        classes: Number of logits.
        mode: One of the table.
        blocks: Freeze the first so many blocks of the network (see :func:`tl_robust.models.base.blocks`).
        classifier: ``copied`` from the parent where shapes fit, or ``fresh``: random weights.
        lr: Learning rate in place of the recipe's where there is a parent; 0: the recipe's.
        rank: Of the changes of mode ``lora``, at least 1.
        alpha: They are multiplied by ``alpha / rank``; above 0.

    Raises:
        ConfigError: No such mode or classifier, more blocks than the network has, blocks with a mode that freezes more,
            or a network that does not say what its blocks or its last layer are, or has no attention for ``lora``,
            or ``lora`` with a defense that takes the steps.
    """

    def __init__(
        self,
        network: nn.Module | Mapping[str, Any],
        recipe: Recipe | Mapping[str, Any],
        classes: int,
        mode: str = "full",
        blocks: int = 0,
        classifier: str = "copied",
        lr: float = 0.0,
        rank: int = RANK,
        alpha: float = ALPHA,
    ) -> None:
        super().__init__(network, recipe, classes)
        for setting, value, known in (("mode", mode, MODES), ("classifier", classifier, CLASSIFIERS)):
            if value not in known:
                raise UnknownNameError(f"{setting} of fine-tuning", value, known)
        if blocks and mode in FEW:
            raise ConfigError(f"setting 'blocks' of fine-tuning must be 0 with mode {mode!r}, got {blocks}.")
        count = len(blocks_of(self.network)) if blocks else 0
        if not 0 <= blocks <= count:
            raise ConfigError(
                f"setting 'blocks' of fine-tuning must be 0 to {count}, the blocks of this network, got {blocks}."
            )
        if lr < 0:
            raise ConfigError(f"setting 'lr' of fine-tuning must be above 0, or 0 for the recipe's, got {lr}.")
        if classifier == "fresh" or mode in FEW:
            classifier_names(self.network)  # an error where the network does not say what its last layer is
        if rank < 1 or not 0 < alpha < math.inf:
            raise ConfigError(f"rank of fine-tuning must be at least 1 and alpha above 0, got {rank} and {alpha}.")
        if mode != "lora" and (rank, alpha) != (RANK, ALPHA):
            raise ConfigError(f"settings 'rank' and 'alpha' of fine-tuning are for mode 'lora', got mode {mode!r}.")
        if mode == "lora":
            attention_weights(self.network)  # an error where it has no attention
        self.mode = mode
        self.blocks = blocks
        self.classifier_start = classifier
        self.lr = lr
        self.has_parent = False
        self.rank, self.alpha = rank, alpha
        self._low: LowRank | None = None
        self._low_state: State | None = None  # of a checkpoint

    @staticmethod
    @override
    def lineage(train: Train[D, M], source: D, target: D, common: D | None) -> tuple[M, M]:
        a = train(source)
        return a, train(target, parent=a)

    @override
    def initialize(self, parent: Mapping[str, Tensor] | None) -> None:
        self.has_parent = parent is not None
        if parent is not None:
            fresh = classifier_names(self.network) if self.classifier_start == "fresh" else ()
            copy_fitting({name: value for name, value in parent.items() if name not in fresh}, self.network)
            self.recipe = replace(self.recipe, lr=self.lr or self.recipe.lr)

    @override
    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint[OWN]["has_parent"] = self.has_parent  # a resumed fit freezes nothing without a parent
        if self._low is not None:
            checkpoint[OWN]["low_rank"] = self._low.kept()

    @override
    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.has_parent = checkpoint.get(OWN, {}).get("has_parent", self.has_parent)
        self._low_state = checkpoint.get(OWN, {}).get("low_rank") if self._stage == "fit" else None
        super().on_load_checkpoint(checkpoint)

    @override
    def configure_optimizers(self) -> tuple[list[Optimizer], list[LRScheduler]]:
        if self.mode != "lora" or not self.has_parent:
            return super().configure_optimizers()
        self._low, self._low_state = LowRank(self.network, self.rank, self.alpha, self._low_state), None
        optimizer, schedule = optimizer_of(self.recipe, [*self.network.parameters(), *self._low.parameters()])
        low = self._low
        optimizer.register_step_post_hook(lambda *_: low.merge())
        return [optimizer], [schedule]

    @override
    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        if self._low is not None:
            self._low.take_gradients()

    @override
    def defend(self, defense: Defense, others: Mapping[str, nn.Module] | None = None) -> Self:
        if self.mode == "lora" and defense is not None and "optimizer" in defense.acts:
            raise ConfigError(
                "mode 'lora' of fine-tuning cannot be trained by a defense that takes the steps: use another."
            )
        return super().defend(defense, others)

    @override
    def _require_gradients(self, frozen: set[nn.Module]) -> None:
        super()._require_gradients(frozen)
        if self.has_parent and self.mode == "lora":
            for weight in attention_weights(self.network).values():
                weight.requires_grad_(True)
        if self.has_parent and self.mode == "bitfit":
            for name, value in self.network.named_parameters():
                if name.endswith("bias"):
                    value.requires_grad_(True)

    @override
    def frozen(self, epoch: int) -> Iterable[nn.Module]:
        if not self.has_parent:
            return ()
        modules = set(self.network.modules())
        if self.mode in ("probe", "lora", "bitfit") or (self.mode == "probe_full" and 2 * epoch < self.recipe.epochs):
            return modules - set(self.classifier.modules())
        blocks = blocks_of(self.network)[: self.blocks] if self.blocks else []
        frozen = {module for block in blocks for module in block.modules()}
        if self.mode == "frozen_bn":
            frozen |= {module for module in modules if isinstance(module, _BatchNorm)}
        return frozen
