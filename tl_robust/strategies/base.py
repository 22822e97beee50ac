"""What every training shares: optimizer, schedule, steps, choice of the epoch; and what a strategy says."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from typing import ClassVar, Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassAccuracy

from tl_robust.errors import ConfigError
from tl_robust.models.module import NetworkModule
from tl_robust.registry import Registry
from tl_robust.types import Recipe

D_contra = TypeVar("D_contra", contravariant=True)
D = TypeVar("D")
M = TypeVar("M")


class Train(Protocol[D_contra, M]):
    """Names a training of the lineage forest: a model of ``domain``, from ``parent`` or from random weights.

    ``by`` names the strategy whose hooks train it: ``scratch`` without a parent and ``finetune`` with one, unless said.
    The same training named twice, by any strategy or bench, is one training.
    """

    def __call__(self, domain: D_contra, parent: M | None = None, by: str | None = None) -> M:
        """The training."""


class TransferTask(NetworkModule):
    """A classifier in training. A strategy overrides :meth:`lineage` and, where needed, the two hooks.

    Args:
        network: Images in [0,1] to logits; its fresh weights are the random start.
        recipe: Optimizer, schedule and choice of the epoch.
        classes: Number of logits.
    """

    VERSION: ClassVar[int] = 1
    needs_common: ClassVar[bool] = False
    kept_accuracy: Tensor

    def __init__(self, network: nn.Module, recipe: Recipe, classes: int) -> None:
        super().__init__(network)
        self.recipe = recipe
        self.accuracy = MulticlassAccuracy(num_classes=classes, average="micro")
        self.loss = MeanMetric()
        self.best: dict[str, Tensor] | None = None
        self.history: list[dict[str, float]] = []
        self.register_buffer("kept_accuracy", torch.tensor(torch.nan))  # of the kept epoch; a buffer survives ddp_spawn

    @staticmethod
    @abstractmethod
    def lineage(train: Train[D, M], source: D, target: D, common: D | None) -> tuple[M, M]:
        """The surrogate A and the victim B as trainings.

        Args:
            train: Names a training.
            source: The source domain.
            target: The target domain.
            common: The common domain C where ``needs_common``, else None.
        """

    def initialize(self, parent: Mapping[str, Tensor] | None) -> None:
        """Set the weights that training starts from.

        Args:
            parent: State dict of the parent's network, None at a root.
        """

    def frozen(self, epoch: int) -> Iterable[nn.Module]:
        """The modules that must not change in this epoch; asked for at its start.

        Each counts for itself, not for its children: its own parameters are not trained, and it is in eval mode, so
        that BatchNorm's statistics are fixed and dropout is off. All other modules of the network are trained.

        Args:
            epoch: From 0 to ``recipe.epochs - 1``.
        """
        return ()

    def setup(self, stage: str) -> None:
        """Say what needs a gradient before DDP wraps the network; see also :meth:`check_processes`."""
        if stage == "fit":
            self.check_processes(self.trainer.world_size)
            self._require_gradients(self._fixed(0))

    def check_processes(self, processes: int) -> None:
        """Check that so many processes can train the network.

        Raises:
            ConfigError: More than one, and what is frozen changes between epochs.
        """
        if processes > 1 and any(self._fixed(epoch) != self._fixed(0) for epoch in range(self.recipe.epochs)):
            raise ConfigError(
                "what is frozen changes during this training, which DDP cannot follow: "
                "use one device (trainer.devices=1)."
            )

    def configure_optimizers(self) -> tuple[list[torch.optim.Optimizer], list[torch.optim.lr_scheduler.LRScheduler]]:
        """SGD with a step schedule over all parameters; it passes over those that have no gradient."""
        recipe = self.recipe
        optimizer = torch.optim.SGD(
            self.network.parameters(),
            lr=recipe.lr,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
            nesterov=recipe.nesterov,
        )
        schedule: torch.optim.lr_scheduler.LRScheduler
        if recipe.lr_at:
            schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, recipe.lr_at, recipe.lr_factor)
        else:
            schedule = torch.optim.lr_scheduler.StepLR(optimizer, recipe.lr_every, recipe.lr_factor)
        return [optimizer], [schedule]

    def on_train_epoch_start(self) -> None:
        """Freeze what is frozen in this epoch, and train the rest, whatever mode the network came in."""
        frozen = self._fixed(self.current_epoch)
        self._require_gradients(frozen)
        for module in self.network.modules():
            module.training = module not in frozen

    def _fixed(self, epoch: int) -> set[nn.Module]:
        """What is frozen, of the network's own modules: a block may be a new container of them."""
        return set(self.network.modules()) & set(self.frozen(epoch))

    def _require_gradients(self, frozen: set[nn.Module]) -> None:
        """No gradient, and none left from an earlier epoch, for what is frozen: no decay and no momentum either."""
        self.network.requires_grad_(True)
        for module in self.network.modules():
            for parameter in module.parameters(recurse=False) if module in frozen else ():
                parameter.requires_grad_(False)
                parameter.grad = None

    def training_step(self, batch: tuple[Tensor, Tensor, Tensor], index: int) -> Tensor:
        """Cross entropy of one batch."""
        images, labels, _ = batch
        return cross_entropy(self(images), labels)

    def validation_step(self, batch: tuple[Tensor, Tensor, Tensor], index: int) -> None:
        """Accuracy and loss on the held-out part of the training split."""
        images, labels, _ = batch
        logits = self(images)
        self.accuracy.update(logits, labels)
        self.loss.update(cross_entropy(logits, labels), len(labels))

    def on_validation_epoch_end(self) -> None:
        """Keep the weights of the best epoch, or of the last."""
        if self.trainer.sanity_checking:
            self.accuracy.reset()
            self.loss.reset()
            return
        accuracy, loss = float(self.accuracy.compute()), float(self.loss.compute())
        self.accuracy.reset()
        self.loss.reset()
        self.log("val/accuracy", accuracy, sync_dist=False)
        better = self.recipe.select == "last" or all(accuracy > seen["val_accuracy"] for seen in self.history)
        self.history.append({"val_accuracy": accuracy, "val_loss": loss})
        if better:
            self.kept_accuracy.fill_(accuracy)
            self.best = {name: value.detach().clone() for name, value in self.network.state_dict().items()}

    def on_fit_end(self) -> None:
        """Go back to the best epoch."""
        if self.best is not None:
            self.network.load_state_dict(self.best)

    def test_step(self, batch: tuple[Tensor, Tensor, Tensor], index: int) -> None:
        """Clean accuracy on the test split; attacks are a callback's."""
        images, labels, _ = batch
        self.accuracy.update(self(images), labels)

    def on_test_epoch_end(self) -> None:
        """Log the clean accuracy."""
        self.log("test/accuracy", self.accuracy.compute())
        self.accuracy.reset()


STRATEGIES: Registry[type[TransferTask]] = Registry("strategy", "tl_robust.strategies")
