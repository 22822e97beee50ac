"""Trainings: nodes whose edges mean "starts from", and the weights of single epochs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, partial
from typing import Any, Self

from torch import Tensor
from typing_extensions import override

from tl_robust.callbacks import Snapshots
from tl_robust.data.mapped import DomainInSpace, held_out
from tl_robust.data.pair import DomainModule
from tl_robust.defenses import DEFENSES, build
from tl_robust.errors import ConfigError
from tl_robust.models.base import classifier_names
from tl_robust.nodes.hands import Hands, seeded
from tl_robust.nodes.kind import Address
from tl_robust.nodes.models import WEIGHTS, Derived, Model, misfit
from tl_robust.nodes.node import Made, Node, of
from tl_robust.nodes.poisoning import Poison
from tl_robust.nodes.progress import Epochs
from tl_robust.nodes.provenance import device_name
from tl_robust.nodes.store import Store
from tl_robust.registry import Component, Scalar
from tl_robust.seeding import derive
from tl_robust.strategies import STRATEGIES, TransferTask
from tl_robust.types import Recipe

State = Mapping[str, Tensor]


@dataclass(frozen=True)
class Training(Model, Node):
    """A model that is trained here.

    Attributes:
        data: Domain in a space; its training split is learned from.
        network: Network with settings.
        recipe: Optimizer, schedule and choice of the epoch.
        seed: Seed of weights, order and dropout.
        by: The strategy whose hooks train it, with settings.
        parent: The model it starts from, None at a root.
        trainer: Options of the Lightning Trainer that can change weights.
        salt: Tells several draws of the same training apart; empty for the first.
        defense: Parts of a defense that change the training.
        others: Further models that a defense asks in its loss, such as a teacher, by name.
        poison: What the images it learns from are poisoned with; None where they are clean.
        snapshots: Epochs whose weights are stored too; no part of its identity.
    """

    KIND = WEIGHTS
    data: DomainInSpace
    network: Component
    recipe: Recipe
    seed: int
    by: Component
    parent: Model | None = None
    trainer: tuple[tuple[str, Scalar], ...] = ()
    salt: str = ""
    defense: tuple[Component, ...] = ()
    others: tuple[tuple[str, Model], ...] = ()
    poison: Poison | None = None
    snapshots: tuple[int, ...] = field(default=(), compare=False)
    space = of("data.space")
    title = of("data.domain")
    labels = of("data.labels")
    work = of("recipe.epochs")

    @property
    def _asked(self) -> tuple[Model, ...]:
        """The models that must be there before: the parent, and those that a defense asks."""
        return (*filter(None, [self.parent]), *dict(self.others).values())

    @property
    @override
    def nodes(self) -> tuple[Node, ...]:
        poison = self.poison.nodes if self.poison else ()
        return (*(node for model in self._asked for node in model.nodes), *poison, self)

    @property
    @override
    def needs(self) -> tuple[Address, ...]:
        poison = self.poison.addresses if self.poison else ()
        return (*(address for model in self._asked for address in model.addresses), *poison)

    @cached_property
    def same_labels(self) -> bool:
        """Whether its parent names classes as it does, so that the classifier can be copied."""
        return self.parent is None or self.parent.labels == self.labels

    @cached_property
    def spec(self) -> dict[str, Any]:
        """What the key is the digest of. What came after the first stores enters only where it is not the default."""
        by_test = {"test_images": self.data.images("test").fingerprint} if self.recipe.select == "test" else {}
        later: dict[str, Any] = {
            "salt": self.salt,
            "defense": [asdict(component) for component in self.defense],
            "others": {name: model.key for name, model in self.others},
            "poison": self.poison.spec if self.poison else None,
        }
        return {
            **by_test,
            **{name: value for name, value in later.items() if value},
            "kind": "training",
            "domain": self.data.domain,
            "labels": len(self.labels),
            "images": self.data.fingerprint,
            "network": asdict(self.network),
            "recipe": asdict(self.recipe),
            "seed": self.seed,
            "by": asdict(self.by),
            "parent": self.parent.key if self.parent else None,
            "same_labels": self.same_labels,
            "trainer": dict(self.trainer),
        }

    @property
    @override
    def entries(self) -> Mapping[str, Mapping[str, Any]]:
        epochs = (Snapshot(self, epoch) for epoch in self.snapshots)
        return {self.key: self.spec} | {snapshot.key: snapshot.spec for snapshot in epochs}

    @override
    def joined(self, other: Self) -> Self:
        epochs = tuple(sorted({*self.snapshots, *other.snapshots}))
        return self if epochs == self.snapshots else replace(self, snapshots=epochs)

    @override
    def fault(self, key: str, record: Any) -> str:
        return misfit(self, record)

    @override
    def note(self, made: Mapping[str, Any]) -> str:
        chosen = "test" if self.recipe.select == "test" else "validation"
        return ", ".join([f"{chosen} {made['val_accuracy']:.1%}", *filter(None, [made.get("remark")])])

    @cached_property
    def draws(self) -> str:
        """Key of the same training where nothing is poisoned: a clean twin has the same weights, order and dropout."""
        return self.mapped(lambda training, _: training.clean).key

    @property
    def clean(self) -> Training:
        """The same training without poison; where an attacker goes on from a clean model, that model."""
        if self.poison and self.poison.joins and self.poison.built.CONTINUES:
            assert isinstance(self.parent, Training)
            return self.parent
        return replace(self, poison=None) if self.poison else self

    @override
    def make(self, hands: Hands, store: Store) -> tuple[Mapping[str, Any], Made]:
        """Train it: weights, order of images and dropout follow from the key alone."""
        inherited = store.load(WEIGHTS, self.parent.addresses[0].key) if self.parent else None
        defense = build(self.defense) if self.defense else None
        others = {name: model.load(store) for name, model in self.others}
        kept_by = partial(defense.images, others=others) if defense else None
        fitted = self.poison.fitted(store) if self.poison else {}
        poisoned = partial(self.poison.of, seed=self.seed, fitted=fitted) if self.poison else None
        data = DomainModule(
            self.data, self.recipe, derive("order", self.draws), kept_by, poisoned, defense.sampling if defense else 0.0
        )
        with seeded(derive("weights", self.draws)):
            task, inherited = self.begun(inherited)
            if defense:
                task.defend(defense, others)
            if self.poison and self.poison.adds:
                task.extra = partial(self.poison.built.extra, fitted=fitted)
            task.start_from(inherited, held_out(self.data, self.recipe.val_share) if defense else None)
            kept = Snapshots(self.snapshots)
            callbacks = [Epochs(hands.advance), kept]
            with hands.trainer(callbacks, max_epochs=self.recipe.epochs, **hands.options) as trainer:
                kept.check(self.recipe.epochs, trainer.world_size)
                task.check_processes(trainer.world_size)  # now: an error of a spawned process is a long trace
                trainer.fit(task, datamodule=data)
        if math.isnan(accuracy := float(task.kept_accuracy)):
            raise ConfigError(
                "no validation ran, so no epoch could be chosen: leave trainer.limit_val_batches, max_steps and "
                "check_val_every_n_epoch so that each training validates."
            )
        if missing := set(self.snapshots) - kept.states.keys():
            raise ConfigError(f"{self} ended before epoch {min(missing)}, of which a snapshot is asked for.")
        weights = {Snapshot(self, epoch).key: weights for epoch, weights in kept.states.items()}
        made: dict[str, Any] = {"device": device_name(trainer.strategy.root_device), "val_accuracy": accuracy}
        if defense:
            said = {"privacy": defense.account(self.recipe.epochs, self.learned), "remark": defense.remark(task)}
            made |= {name: value for name, value in said.items() if value}
        return weights | {self.key: task.network.state_dict()}, made

    def begun(self, inherited: State | None) -> tuple[TransferTask, State | None]:
        """The training with fresh weights, and what it inherits of its parent's."""
        network = self.build()
        task = STRATEGIES[self.by.name](network, self.recipe, len(self.labels), **dict(self.by.settings))
        if inherited is not None and not self.same_labels:
            other = classifier_names(network)
            inherited = {name: value for name, value in inherited.items() if name not in other}
        return task, inherited

    @property
    def learned(self) -> int:
        """How many images it learns from, before a defense leaves any out."""
        data, share = self.data, self.recipe.val_share
        return len(data.images("train") if self.recipe.select == "test" else data.parts(share)[0])

    @override
    def again(self, salt: str) -> Training:
        def drawn(model: Model) -> Model:  # what learned from the same data is as private as this one: a teacher
            last = model.trained
            return model.again(salt) if isinstance(last, Training) and last.data == self.data else model

        repairs = any(DEFENSES[part.name].REPAIRS for part in self.defense)
        parent = drawn(self.parent) if repairs and self.parent else self.parent
        others = tuple((name, drawn(model)) for name, model in self.others)
        return replace(self, salt=" ".join(filter(None, [self.salt, salt])), parent=parent, others=others)

    @override
    def at(self, epoch: int) -> Model:
        recipe = self.recipe
        return self if recipe.select == "last" and epoch == recipe.epochs else Snapshot(self, epoch)

    @property
    @override
    def trained(self) -> Training:
        return self

    @override
    def mapped(self, change: Callable[[Training, str], Training]) -> Training:
        parent = self.parent.mapped(change) if self.parent else None
        others = tuple((name, model.mapped(change)) for name, model in self.others)
        same = parent == self.parent and others == self.others
        return change(self if same else replace(self, parent=parent, others=others), self.key)

    @override
    def further(self, epochs: int, defense: Component | None = None) -> Training:
        recipe = replace(self.recipe, epochs=epochs or self.recipe.epochs)
        defenses = (defense,) if defense else ()
        by = STRATEGIES.component("finetune")
        return replace(self, parent=self, recipe=recipe, by=by, defense=defenses, others=(), poison=None, snapshots=())

    @override
    def taught(self, defense: Component, epochs: int = 0, fresh: bool = True) -> Training:
        if not (fresh or self.parent):
            raise ConfigError(f"{self} starts from random weights, so {defense} has no parent to start from.")
        student, by = self.further(epochs or self.recipe.epochs, defense), "scratch" if fresh else "finetune"
        parent, others = None if fresh else self.parent, (("teacher", self),)
        return replace(student, parent=parent, by=STRATEGIES.component(by), others=others)

    @override
    def asking(self, name: str, model: Model) -> Training:
        if not self.defense:
            raise ConfigError(f"{self} is not trained for the target, so no defense joins in its training.")
        if model.labels != self.labels:
            raise ConfigError(f"defense {self.defense[0]} asks {model} for {self}, and it knows other classes.")
        return replace(self, others=tuple(sorted({*self.others, (name, model)})))

    @override
    def anew(self) -> Training:
        return replace(self, parent=None, by=STRATEGIES.component("scratch"))

    age = of("recipe.epochs")

    @override
    def origin(self) -> dict[str, Any]:
        poison = str(self.poison.backdoor) if self.poison else ""
        half, defense = str(self.data.draw or ""), " + ".join(map(str, self.defense))
        later = {"draw": self.salt, "defense": defense, "poison": poison, "half": half}
        return {
            "key": self.key,
            "domain": self.data.domain,
            "space": str(self.data.space),
            "images": len(self.data.images("train")),
            "share": self.data.share,
            "epochs": self.recipe.epochs,
            "lr": self.recipe.lr,
            "by": str(self.by),
            "seed": self.seed,
            "parent": self.parent.origin() if self.parent else None,
            **{name: value for name, value in later.items() if value},
        }

    def __str__(self) -> str:
        text, start = f"{self.by} {self.data.domain}", self.parent
        if self.data.share != 1:
            text += f" ({len(self.data.images('train'))} images)"
        while start:
            known = [*start.defense, start.salt, start.poison, start.data.draw] if isinstance(start, Training) else []
            said = ", ".join(str(each) for each in known if each)
            text, start = f"{text} from {start.title}" + (f" ({said})" if said else ""), start.parent
        more = [*map(str, self.defense), *filter(None, [self.salt, str(self.poison or ""), str(self.data.draw or "")])]
        return f"{text}, seed {self.seed}" + (f" ({', '.join(more)})" if more else "")


@dataclass(frozen=True)
class Snapshot(Derived):
    """A training after some of its epochs; the same fit writes it, and its key is no part of the training's.

    Attributes:
        model: The training.
        epoch: How many of its epochs are done; at 0 it is what the training starts from.
    """

    model: Training
    epoch: int

    def __post_init__(self) -> None:
        if not 0 <= self.epoch <= self.model.recipe.epochs:
            raise ConfigError(
                f"there is no snapshot after epoch {self.epoch} of {self.model}: expected 0 to "
                f"{self.model.recipe.epochs}."
            )

    @property
    @override
    def nodes(self) -> tuple[Node, ...]:
        return (*self.model.nodes[:-1], replace(self.model, snapshots=(self.epoch,)))

    @cached_property
    def spec(self) -> dict[str, Any]:
        """What the key is the digest of."""
        return {"kind": "snapshot", "training": self.model.key, "epoch": self.epoch}

    @override
    def again(self, salt: str) -> Snapshot:
        return replace(self, model=self.model.again(salt))

    @override
    def at(self, epoch: int) -> Snapshot:
        if epoch > self.epoch:
            raise ConfigError(f"{self} has not been trained for {epoch} epochs: expected 0 to {self.epoch}.")
        return replace(self, epoch=epoch)

    @override
    def further(self, epochs: int, defense: Component | None = None) -> Training:
        return replace(self.model.further(epochs, defense), parent=self)

    age = of("epoch")

    @override
    def mapped(self, change: Callable[[Training, str], Training]) -> Snapshot:
        return replace(self, model=self.model.mapped(change))

    @override
    def origin(self) -> dict[str, Any]:
        return self.model.origin() | {"key": self.key, "after": self.epoch}

    def __str__(self) -> str:
        return f"{self.model}, after epoch {self.epoch}"
