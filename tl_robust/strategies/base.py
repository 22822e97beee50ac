"""What every training shares: optimizer, schedule, steps and the choice of the epoch; a strategy says the rest."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import asdict
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassAccuracy
from typing_extensions import override

from tl_robust.defenses import Defense
from tl_robust.errors import ConfigError
from tl_robust.models.base import described
from tl_robust.models.module import NetworkModule
from tl_robust.registry import Registry
from tl_robust.strategies.epoch import EpochSums, copied, merit, predicted
from tl_robust.strategies.forest import D, M, Train
from tl_robust.strategies.hyperparameters import arguments_of, defense_of, network_of, recipe_of, text_of
from tl_robust.strategies.optimizer import hand_over, nothing, optimizer_of
from tl_robust.types import ImageSet, Recipe

State = dict[str, Tensor]
OWN = "tl_robust"  # the key of a checkpoint under which a training keeps what Lightning does not keep
FITTED_ON = ("source", "target", "domain", "seed")  # what a task notes of the hyperparameters of its data


class TransferTask(NetworkModule):
    """A classifier in training; a strategy overrides :meth:`lineage` and, where needed, one of three hooks.

    The hooks: :meth:`initialize` (what training starts from), :meth:`frozen` (what stands still), :meth:`objective`.

    It serves any Trainer. Batches are images ``[N,C,H,W]`` and labels ``[N]``. Logged once an epoch: ``train/loss`` and
    ``train/accuracy`` (of the batches as they were trained on), ``val/loss``, ``val/accuracy``; in a test
    ``test/accuracy``. Without a defense losses are mean cross entropies, accuracies are in [0, 1].

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
        super().__init__(network_of(network))
        self.recipe = recipe_of(recipe)
        settings = {"classes": classes} | arguments_of(self)
        self._settings = settings.keys() | {"network", "recipe"}
        self.save_hyperparameters(settings | {"network": described(self.network), "recipe": asdict(self.recipe)})
        # torchmetrics' own check of its input would refuse the class -1, which stands for "no prediction"
        self.accuracy = MulticlassAccuracy(num_classes=classes, average="micro", validate_args=False)
        # by default torchmetrics leaves batches whose value is NaN out of a mean, and a diverged model would look good
        self.val_loss = MeanMetric(nan_strategy=math.nan)
        self.val_score = MeanMetric(nan_strategy=math.nan)
        self.history: list[dict[str, float]] = []
        self.best_state: State | None = None
        # validation accuracy of the kept epoch: a buffer, since only the state dict comes back from spawned processes
        self.register_buffer("kept_accuracy", torch.tensor(torch.nan))
        self.defense: Defense | None = None
        self.extra: Callable[[nn.Module, Tensor, Tensor], Tensor | None] | None = None  # an attacker's part of the loss
        self._others: dict[str, nn.Module] = {}  # a dict hides them from the parameters and state of this module
        self._stage = ""
        self._last_state: State | None = None  # weights of the last epoch, once a fit is over
        self._in_step = False
        self.defense_seed = -1  # of what the defense draws; -1 until a fit begins
        self._sums = EpochSums()
        self._generator_states: State = {}  # of torch's global generators, that a resumed fit goes on with

    @staticmethod
    @abstractmethod
    def lineage(train: Train[D, M], source: D, target: D, common: D | None) -> tuple[M, M]:
        """The surrogate A and the victim B as trainings.

        Settings of the cell's strategy are ``train.own.settings``; ``train(source, by=train.own)`` trains A with them.

        Args:
            train: Names a training; see :class:`tl_robust.strategies.forest.Train`.
            source: The source domain.
            target: The target domain.
            common: The common domain C where ``needs_common``, else None.
        """

    def initialize(self, parent: Mapping[str, Tensor] | None) -> None:
        """Set the weights that training starts from; with a defense, call :meth:`start_from` instead.

        Args:
            parent: State dict of the parent's network, None at a root.
        """

    def objective(self, batch: Sequence[Tensor]) -> Tensor:
        """What one step lowers: the mean cross entropy of the batch, a scalar.

        Another one is made of :meth:`cross_entropy` where it predicts labels, so that accuracy is logged.
        """
        return self.cross_entropy(batch[0], batch[1])

    def frozen(self, epoch: int) -> Iterable[nn.Module]:
        """The modules that must not change in this epoch; asked for at its start.

        Each counts for itself, not for its children: its own parameters are not trained, and it is in eval mode, so
        that BatchNorm's statistics are fixed and dropout is off. All other modules of the network are trained.

        Args:
            epoch: From 0 to ``recipe.epochs - 1``.
        """
        return ()

    def cross_entropy(self, images: Tensor, labels: Tensor) -> Tensor:
        """Mean cross entropy of images ``[N,C,H,W]``, labels ``[N]``; a training step logs their ``train/accuracy``."""
        logits = self(images)
        if self._in_step:
            self._sums.add_predictions(predicted(logits), labels)
        return nn.functional.cross_entropy(logits, labels)

    def defend(self, defense: Defense, others: Mapping[str, nn.Module] | None = None) -> Self:
        """Let a defense join in the training: its start, its loss, and what chooses the epoch.

        Its ``initialize`` follows the strategy's in :meth:`start_from`; its ``loss``, unless None, stands in for
        :meth:`objective`; its ``score`` of a validation batch, unless None, chooses the epoch in place of the accuracy
        and is logged as ``val/score``.

        Args:
            defense: The defense.
            others: Networks that the loss asks, for example a teacher, by name. They are frozen and put in eval mode,
                follow the task to its device, and are in no checkpoint.
        """
        self.defense = defense
        self._others = {name: network.eval().requires_grad_(False) for name, network in (others or {}).items()}
        self._note({"defense": text_of(defense)}, ["defense"])
        return self

    def start_from(self, parent: Mapping[str, Tensor] | None, validation: ImageSet | None = None) -> None:
        """Set the weights that training starts from: the strategy's :meth:`initialize`, then the defense's.

        Args:
            parent: State dict of the parent's network, None at a root.
            validation: Clean images held out of the training, which some defenses look at.
        """
        self.initialize(parent)
        if self.defense is not None:
            self.defense.initialize(self, parent, validation)

    @override
    def setup(self, stage: str) -> None:
        """Begin anew, and say what needs a gradient before DDP wraps the network; see also :meth:`check_processes`."""
        self._stage = stage
        for network in self._others.values():  # Lightning moves and converts only what is a part of this module
            self.trainer.precision_plugin.convert_module(network).to(self.trainer.strategy.root_device)
        if stage == "fit":
            self.check_processes(self.trainer.world_size)
            self._require_gradients(self._fixed(0))
            # An earlier fit, perhaps on other data, has no say in the choice. A checkpoint is read after this.
            self.history, self.best_state, self._last_state, self._generator_states = [], None, None, {}
            self.defense_seed = -1
            self.kept_accuracy.fill_(torch.nan)
            if self.defense is None and "defense" not in self._settings:
                self.hparams.pop("defense", None)
            data = getattr(self.trainer, "datamodule", None)
            self._note(data.hparams if data is not None else {})

    def _note(self, facts: Mapping[str, Any], names: Iterable[str] = FITTED_ON) -> None:
        """Take facts into the hyperparameters, except under the name of a setting of the strategy."""
        self.hparams.update({name: facts[name] for name in names if name in facts and name not in self._settings})

    def check_processes(self, processes: int) -> None:
        """Check that so many processes can train the network.

        Raises:
            ConfigError: More than one, and what is frozen changes between epochs.
        """
        if processes > 1 and not self.steady:
            raise ConfigError(
                "what is frozen changes during this training, which DDP cannot follow: "
                "use one device (trainer.devices=1)."
            )

    def configure_optimizers(self) -> tuple[list[torch.optim.Optimizer], list[torch.optim.lr_scheduler.LRScheduler]]:
        """SGD with a step schedule over all parameters; it passes over those that have no gradient."""
        optimizer, schedule = optimizer_of(self.recipe, self.network.parameters())
        return [optimizer], [schedule]

    def on_train_start(self) -> None:
        """Go on where a checkpoint stands: if that is within an epoch, no hook will say that the epoch starts."""
        self._freeze()
        if self.defense is not None:
            hand_over(self, self.defense)
        states, self._generator_states = self._generator_states, {}
        if states and self.trainer.world_size == 1:
            torch.set_rng_state(states["cpu"])
            if "cuda" in states and self.device.type == "cuda":
                torch.cuda.set_rng_state(states["cuda"], self.device)

    def on_train_epoch_start(self) -> None:
        """Freeze what is frozen in this epoch, and train the rest, whatever mode the network came in."""
        self._freeze()
        self._sums = EpochSums()

    def _freeze(self) -> None:
        frozen = self._fixed(self.current_epoch)
        self._require_gradients(frozen)
        for module in self.network.modules():
            module.training = module not in frozen

    @property
    def steady(self) -> bool:
        """Whether the same modules are frozen in every epoch."""
        return all(self._fixed(epoch) == self._fixed(0) for epoch in range(self.recipe.epochs))

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
        """The loss of one batch, a scalar: the defense's, or the strategy's objective."""
        if len(batch[1]) == 0:  # of Poisson sampling
            return nothing(self.network)
        self._in_step = True
        loss = None if self.defense is None else self.defense.loss(self, batch, self._others)
        if loss is None:
            loss = self.objective(batch)
        self._in_step = False
        if self.extra is not None and (more := self.extra(self.network, batch[0], batch[1])) is not None:
            loss = loss + more
        self._sums.add_loss(loss, len(batch[1]))
        return loss

    def on_train_epoch_end(self) -> None:
        """Log loss and accuracy of the epoch; no accuracy where the loss never asked for a prediction of labels."""
        for name, mean in self._sums.means().items():
            self.log(name, mean, sync_dist=True)

    def validation_step(self, batch: Sequence[Tensor], index: int) -> None:
        """Accuracy and loss on a batch ``([N,C,H,W], [N])`` held out of training, and what the defense thinks of it."""
        images, labels = batch[:2]
        logits = self(images)
        self.accuracy.update(predicted(logits), labels)
        self.val_loss.update(nn.functional.cross_entropy(logits, labels), len(labels))
        score = None if self.defense is None else self.defense.score(self, batch)
        if score is not None:
            self.val_score.update(score.detach().float().expand(len(labels)).clone())

    def on_validation_epoch_end(self) -> None:
        """Keep the weights of the best epoch, or of the last."""
        metrics = {"val_accuracy": self.accuracy, "val_loss": self.val_loss, "val_score": self.val_score}
        if not self.val_score.update_called:
            del metrics["val_score"]
        epoch = {name: float(metric.compute()) for name, metric in metrics.items()}
        for metric in metrics.values():
            metric.reset()
        if self.trainer.sanity_checking:
            return
        for name, value in epoch.items():  # torchmetrics has summed over the processes
            self.log(name.replace("_", "/"), value, sync_dist=False)
        if self._stage != "fit":  # trainer.validate: a look at the model, and no epoch of its training
            return
        if self.recipe.select == "last" or all(merit(epoch) > merit(earlier) for earlier in self.history):
            self.kept_accuracy.fill_(epoch["val_accuracy"])
            self.best_state = copied(self.network)
        self.history.append(epoch)

    def on_fit_end(self) -> None:
        """Put the weights of the chosen epoch into the network, and keep those of the last for a fit that goes on."""
        if self.best_state is not None:
            self._last_state = copied(self.network)
            self.network.load_state_dict(self.best_state)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what a resumed fit must remember: the epochs so far, the best weights, and the random draws to come."""
        generator_states = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            generator_states["cuda"] = torch.cuda.get_rng_state(self.device)
        # without the buffer the state dict has the network alone, so that a bench reads the file as a public checkpoint
        checkpoint[OWN] = {
            "kept_accuracy": checkpoint["state_dict"].pop("kept_accuracy", self.kept_accuracy),
            "history": self.history,
            "best": self.best_state,
            "last": self._last_state,
            "draws": generator_states,
            "others": list(self._others),
            "defense_seed": self.defense_seed,
            **self._sums.state(),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Remember it. A fit goes on from the weights of the last epoch, also where the file has the best epoch's."""
        kept = checkpoint.get(OWN, {})
        self.history, self.best_state = list(kept.get("history", [])), kept.get("best")
        self._sums, self.defense_seed = EpochSums(kept), kept.get("defense_seed", -1)
        checkpoint["state_dict"].setdefault("kept_accuracy", kept.get("kept_accuracy", torch.tensor(torch.nan)))
        hyperparameters = checkpoint.get(self.CHECKPOINT_HYPER_PARAMS_KEY, {})
        self._note(hyperparameters, [*FITTED_ON, "defense"])
        if "defense" not in self._settings:
            self._remember_defense(hyperparameters.get("defense", ""), set(kept.get("others", ())))
        if self._stage == "fit":
            self._generator_states = kept.get("draws", {})
            for name, value in (kept.get("last") or {}).items():
                checkpoint["state_dict"][f"network.{name}"] = value
            self._require_gradients(self._fixed(0))  # the file may say that there is a parent

    def _remember_defense(self, text: str, others: Set[str]) -> None:
        if text and self.defense is None:
            self.defense = defense_of(text)
        own = "" if self.defense is None else text_of(self.defense)
        if self._stage == "fit" and (own != text or others - self._others.keys()):
            networks = f" with networks named {', '.join(sorted(others))}" if others else ""
            raise ConfigError(
                f"this fit was begun with defense {text or 'none'}{networks}, and would go on with {own or 'none'}: "
                "call task.defend(defense, others) before it as at its beginning."
            )

    def test_step(self, batch: Sequence[Tensor], index: int) -> None:
        """Clean accuracy on a batch ``([N,C,H,W], [N])`` of the test split; attacks are a callback's."""
        images, labels = batch[:2]
        self.accuracy.update(predicted(self(images)), labels)

    def on_test_epoch_end(self) -> None:
        """Log the clean accuracy."""
        self.log("test/accuracy", self.accuracy.compute())
        self.accuracy.reset()


STRATEGIES: Registry[type[TransferTask]] = Registry("strategy", "tl_robust.strategies")
