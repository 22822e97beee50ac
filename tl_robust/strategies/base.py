"""What every training shares: optimizer, schedule, steps, choice of the epoch; and what a strategy says."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from typing import ClassVar, Protocol, TypeVar

import torch
from lightning import LightningModule
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassAccuracy

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


class TransferTask(LightningModule):
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
        super().__init__()
        self.network = network
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

    def trainable(self) -> Iterable[nn.Parameter]:
        """The parameters to train; modules without any are frozen, BatchNorm statistics and dropout included."""
        return self.network.parameters()

    def forward(self, images: Tensor) -> Tensor:
        """Images ``[N,C,H,W]`` in [0,1] to logits ``[N,classes]``."""
        logits: Tensor = self.network(images)
        return logits

    def configure_optimizers(self) -> tuple[list[torch.optim.Optimizer], list[torch.optim.lr_scheduler.StepLR]]:
        """SGD with a step schedule, over what is trainable."""
        recipe = self.recipe
        trained = list(self.trainable())
        optimizer = torch.optim.SGD(
            trained,
            lr=recipe.lr,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
            nesterov=recipe.nesterov,
        )
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, recipe.lr_every, recipe.lr_factor)]

    def on_train_epoch_start(self) -> None:
        """Freeze what is not trainable: no gradient, and eval mode where a module has nothing left to train."""
        trained = {id(parameter) for parameter in self.trainable()}
        for parameter in self.network.parameters():
            parameter.requires_grad_(id(parameter) in trained)
        for module in self.network.modules():
            parameters = list(module.parameters())
            if parameters and not any(id(parameter) in trained for parameter in parameters):
                module.eval()

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
