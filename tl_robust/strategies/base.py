"""What every training shares: optimizer, schedule, steps, choice of the epoch; and what a strategy says."""

from __future__ import annotations

import inspect
import math
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassAccuracy

from tl_robust.errors import ConfigError, UnknownNameError
from tl_robust.models.base import described, rebuilt
from tl_robust.models.module import NetworkModule
from tl_robust.registry import Registry
from tl_robust.strategies.protocols import D, M, Train
from tl_robust.types import Recipe

State = dict[str, Tensor]
OWN = "tl_robust"  # what a checkpoint holds of a training beside what Lightning keeps, under this key
FITTED_ON = ("source", "target", "domain", "seed")  # hyperparameters of a data module that its training names too


class TransferTask(NetworkModule):
    """A classifier in training. A strategy overrides :meth:`lineage` and, where needed, the two hooks.

    It serves any Trainer. Batches are ``(images, labels, ...)``. Logged once an epoch: ``train/loss`` and
    ``train/accuracy`` (of the batches as they were trained on), ``val/loss``, ``val/accuracy``; in a test
    ``test/accuracy``. Losses are mean cross entropies, accuracies are in [0, 1].

    Settings are hyperparameters of a checkpoint, so that ``load_from_checkpoint(path)`` needs no more where the network
    was built by its name. ``fit(..., ckpt_path=path)`` goes on as if it had not stopped: earlier epochs and the best
    weights are remembered, and on one device order and dropout too. After a fit the weights are the chosen epoch's.

    Args:
        network: Images in [0,1] to logits; its fresh weights are the random start. Or what a checkpoint says of it.
        recipe: Optimizer, schedule and choice of the epoch. Or its fields by name.
        classes: Number of logits.

    Raises:
        ConfigError: No network, or a description that builds none.
    """

    VERSION: ClassVar[int] = 1
    needs_common: ClassVar[bool] = False
    kept_accuracy: Tensor

    def __init__(
        self, network: nn.Module | Mapping[str, Any], recipe: Recipe | Mapping[str, Any], classes: int
    ) -> None:
        super().__init__(_network(network))
        self.recipe = _recipe(recipe)
        settings = {"classes": classes} | _arguments(self)
        self._settings = settings.keys() | {"network", "recipe"}
        self.save_hyperparameters(
            settings | {"network": described(self.network), "recipe": asdict(self.recipe)},
        )
        self.accuracy = MulticlassAccuracy(num_classes=classes, average="micro", validate_args=False)  # it refuses -1
        self.loss = MeanMetric(nan_strategy=math.nan)  # NaN stays; by default such batches are left out
        self.best: State | None = None
        self.history: list[dict[str, float]] = []
        self.register_buffer("kept_accuracy", torch.tensor(torch.nan))  # of the kept epoch; a buffer survives ddp_spawn
        self._stage = ""
        self._last: State | None = None  # weights of the last epoch, once a fit is over
        self._sums: Tensor | None = None  # loss and right images of this epoch, on the device
        self._trained = 0  # images of this epoch
        self._draws: State = {}  # states of the global generators that a resumed fit goes on with

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
        """Begin anew, and say what needs a gradient before DDP wraps the network; see also :meth:`check_processes`."""
        self._stage = stage
        if stage == "fit":
            self.check_processes(self.trainer.world_size)
            self._require_gradients(self._fixed(0))
            # An earlier fit, perhaps on other data, has no say in the choice. A checkpoint is read after this.
            self.history, self.best, self._last, self._draws = [], None, None, {}
            self.kept_accuracy.fill_(torch.nan)
            data = getattr(self.trainer, "datamodule", None)
            self._note_data(data.hparams if data is not None else {})

    def _note_data(self, hparams: Mapping[str, Any]) -> None:
        names = [name for name in FITTED_ON if name in hparams and name not in self._settings]
        self.hparams.update({name: hparams[name] for name in names})

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

    def on_train_start(self) -> None:
        """Go on where a checkpoint stands; within an epoch no hook says that it starts."""
        self._freeze()
        self._sums = None if self._sums is None else self._sums.to(self.device)
        draws, self._draws = self._draws, {}
        if draws and self.trainer.world_size == 1:
            torch.set_rng_state(draws["cpu"])
            if "cuda" in draws and self.device.type == "cuda":
                torch.cuda.set_rng_state(draws["cuda"], self.device)

    def on_train_epoch_start(self) -> None:
        """Freeze what is frozen in this epoch, and train the rest, whatever mode the network came in."""
        self._freeze()
        self._sums, self._trained = None, 0

    def _freeze(self) -> None:
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

    def training_step(self, batch: Sequence[Tensor], index: int) -> Tensor:
        """Cross entropy of one batch."""
        images, labels = batch[:2]
        logits = self(images)
        loss = cross_entropy(logits, labels)
        with torch.no_grad():  # summed on the device and read once an epoch: no step waits for a number
            sums = torch.stack([loss.float() * len(labels), (_predicted(logits) == labels).sum()])
            self._sums = sums if self._sums is None else self._sums + sums
        self._trained += len(labels)
        return loss

    def on_train_epoch_end(self) -> None:
        """Log loss and accuracy of the epoch."""
        if self._sums is not None:
            loss, right = self._sums / self._trained
            self.log("train/loss", loss, sync_dist=True)
            self.log("train/accuracy", right, sync_dist=True)

    def validation_step(self, batch: Sequence[Tensor], index: int) -> None:
        """Accuracy and loss on the held-out part of the training split."""
        images, labels = batch[:2]
        logits = self(images)
        self.accuracy.update(_predicted(logits), labels)
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
        self.log("val/accuracy", accuracy, sync_dist=False)  # torchmetrics has summed over the processes
        self.log("val/loss", loss, sync_dist=False)
        if self._stage != "fit":  # trainer.validate: a look at the model, and no epoch of its training
            return
        better = self.recipe.select == "last" or all(accuracy > seen["val_accuracy"] for seen in self.history)
        self.history.append({"val_accuracy": accuracy, "val_loss": loss})
        if better:
            self.kept_accuracy.fill_(accuracy)
            self.best = _copied(self.network)

    def on_fit_end(self) -> None:
        """Go back to the best epoch."""
        if self.best is not None:
            self._last = _copied(self.network)
            self.network.load_state_dict(self.best)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what a resumed fit must remember: the epochs so far, the best weights, and the random draws to come."""
        draws = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            draws["cuda"] = torch.cuda.get_rng_state(self.device)
        # the state dict then has the network alone, so that a bench reads the file as a public checkpoint
        checkpoint[OWN] = {
            "kept_accuracy": checkpoint["state_dict"].pop("kept_accuracy", self.kept_accuracy),
            "history": self.history,
            "best": self.best,
            "last": self._last,
            "sums": self._sums,
            "trained": self._trained,
            "draws": draws,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Remember it. A fit goes on from the weights of the last epoch, also where the file has the best epoch's."""
        kept = checkpoint.get(OWN, {})
        self.history, self.best = list(kept.get("history", [])), kept.get("best")
        self._sums, self._trained = kept.get("sums"), kept.get("trained", 0)
        checkpoint["state_dict"].setdefault("kept_accuracy", kept.get("kept_accuracy", torch.tensor(torch.nan)))
        self._note_data(checkpoint.get(self.CHECKPOINT_HYPER_PARAMS_KEY, {}))
        if self._stage == "fit":
            self._draws = kept.get("draws", {})
            for name, value in (kept.get("last") or {}).items():
                checkpoint["state_dict"][f"network.{name}"] = value
            self._require_gradients(self._fixed(0))  # a parent may have become known

    def test_step(self, batch: Sequence[Tensor], index: int) -> None:
        """Clean accuracy on the test split; attacks are a callback's."""
        images, labels = batch[:2]
        self.accuracy.update(_predicted(self(images)), labels)

    def on_test_epoch_end(self) -> None:
        """Log the clean accuracy."""
        self.log("test/accuracy", self.accuracy.compute())
        self.accuracy.reset()


def _arguments(module: TransferTask) -> dict[str, Any]:
    """What the class of a module was called with, settings of subclasses included, by name.

    Lightning's own search for them takes those of any module that makes this one for its settings too.
    """
    code = type(module).__init__.__code__
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    frame = inspect.currentframe()
    while frame is not None and not (frame.f_code is code and frame.f_locals[names[0]] is module):
        frame = frame.f_back
    return {name: frame.f_locals[name] for name in names[1:]} if frame is not None else {}


def _predicted(logits: Tensor) -> Tensor:
    """Classes, int64 ``[N]``; -1, which is no label, where a logit of ``[N,L]`` is not finite."""
    return logits.argmax(1).masked_fill(~logits.isfinite().all(1), -1)


def _copied(network: nn.Module) -> State:
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


def _network(network: nn.Module | Mapping[str, Any] | None) -> nn.Module:
    if isinstance(network, nn.Module):
        return network
    if network is None:
        raise ConfigError(
            "this checkpoint does not say how its network is built, since that was not made by "
            "tl_robust.models.get: give it, as in load_from_checkpoint(path, network=...)."
        )
    return rebuilt(network)


def _recipe(recipe: Recipe | Mapping[str, Any]) -> Recipe:
    if isinstance(recipe, Recipe):
        return recipe
    known = [item.name for item in fields(Recipe)]
    for name in recipe:
        if name not in known:
            raise UnknownNameError("setting of recipe", name, known)
    return Recipe(**recipe)


STRATEGIES: Registry[type[TransferTask]] = Registry("strategy", "tl_robust.strategies")
