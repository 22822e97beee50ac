"""The forest of models: who they are (their key), and what they are loaded from (addresses in the store).

A key is the SHA-256 of everything that can change what is stored under it. The name of a cell's strategy is not in it:
CommonInit's models are FineTune models of another edge.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from typing_extensions import override

from tl_robust.data.names import Names
from tl_robust.data.space import get_space
from tl_robust.errors import ConfigError, DataError
from tl_robust.models import build
from tl_robust.models.adapter import Adapter
from tl_robust.models.base import classifier_names
from tl_robust.models.checkpoint import checkpoint_digest, load_checkpoint
from tl_robust.nodes.hands import Hands
from tl_robust.nodes.kind import Address, Kind
from tl_robust.nodes.node import Keyed, Made, Node, of
from tl_robust.nodes.payload import pack_weights, unpack_weights
from tl_robust.nodes.provenance import device_name
from tl_robust.nodes.store import Store
from tl_robust.registry import Component

WEIGHTS = Kind("weights", "model.safetensors", "training", pack_weights, unpack_weights, unit="epochs")


class Model(Keyed):
    """A network with weights, as attackers and judges meet it.

    Its identity (:attr:`key`) and the addresses of what it is loaded from are two things: a model may share the weights
    of another, or be made of several.

    Attributes:
        network: Network with settings.
        space: Space of the images it is given, with settings.
        title: What it learned, as tables name it.
        labels: Names of its classes, in label order.
        parent: What it started from; None at a root.
        alone: It answers as its network does, and nothing stands around that.
    """

    alone: ClassVar[bool] = True
    network: Component
    space: Component
    title: str
    labels: Names
    parent: Model | None

    @property
    @abstractmethod
    def nodes(self) -> tuple[Node, ...]:
        """What must be computed for it, parents first."""

    @property
    def addresses(self) -> tuple[Address, ...]:
        """The entries of the store that it is loaded from."""
        return (Address(WEIGHTS, self.key, str(self)),)

    def load(self, store: Store) -> nn.Module:
        """The network with its weights.

        Raises:
            StoreError: They are not in the store.
        """
        return self.build(store.load(WEIGHTS, self.key))

    def build(self, weights: Mapping[str, Tensor] | None = None, assign: bool = False) -> nn.Module:
        """The network with these weights, or with fresh ones from torch's global generator."""
        network = build(self.network, get_space(self.space).image_shape, len(self.labels))
        if weights is not None:
            network.load_state_dict(weights, assign=assign)
        return network

    def check_features(self) -> None:
        """Check that its network says what its last layer is, whose input is the features.

        Raises:
            ConfigError: It does not.
        """
        with torch.device("meta"):  # only its parts are looked at
            classifier_names(self.build())

    def again(self, salt: str) -> Model:
        """Another draw of it: the same training from the same parent, with random numbers of its own.

        Raises:
            ConfigError: It was not trained here.
        """
        raise ConfigError(f"{self} was trained by others, so it cannot be trained again with another seed.")

    def anew(self) -> Model:
        """The same training from random weights.

        Raises:
            ConfigError: It was not trained here.
        """
        raise ConfigError(f"{self} was trained by others, so it cannot be trained again from random weights.")

    def at(self, epoch: int) -> Model:
        """What it was after an epoch of its last training; 0: what that training starts from.

        Raises:
            ConfigError: It was not trained here, or not for so long.
        """
        raise ConfigError(f"{self} was trained by others, so its epochs are not known.")

    @property
    def trained(self) -> Model | None:
        """Its last training here; None where it has none."""
        return None

    def mapped(self, change: Callable[[Any, str], Any]) -> Model:
        """The model when every training under it is changed, parents first.

        Args:
            change: Gets a training, whose parents are changed already, and the key that it had before.
        """
        return self

    def further(self, epochs: int, defense: Component | None = None) -> Model:
        """What it becomes when its last training goes on for so many epochs (0: as many again), with a defense.

        Raises:
            ConfigError: It was not trained here.
        """
        raise ConfigError(f"{self} was trained by others, so it cannot be trained further.")

    def taught(self, defense: Component, epochs: int = 0, fresh: bool = True) -> Model:
        """A model that learns from it, its ``teacher``, what it has learned last, with a defense.

        Args:
            defense: Joins in that training.
            epochs: Epochs of that training; 0: as many as the teacher's.
            fresh: It starts from random weights, else from what the teacher started from.

        Raises:
            ConfigError: It was not trained here, or started from random weights itself where ``fresh`` is off.
        """
        raise ConfigError(f"{self} was trained by others, so what it learned from is not there to learn from again.")

    def upon(self, old: Model, new: Model) -> Model:
        """The same with ``new`` in the place of ``old`` wherever its trainings start from that or ask it."""
        return self.mapped(lambda training, before: new if before == old.key else training)

    def defended(self, defense: Component) -> Model:
        """The same training with a further defense in it.

        Raises:
            ConfigError: It was not trained here.
        """
        if not (last := self.trained):
            raise ConfigError(f"{self} was trained by others, so no defense can join in its training.")

        def change(training: Any, key: str) -> Any:
            return replace(training, defense=(*training.defense, defense)) if key == last.key else training

        return self.mapped(change)

    def asking(self, name: str, model: Model) -> Model:
        """The same training whose defense is given ``model``, too, by that name.

        Raises:
            ConfigError: It was not trained with a defense here, or the model knows other classes.
        """
        raise ConfigError(f"{self} was trained by others, so no defense can join in its training.")

    @property
    def age(self) -> int:
        """Epochs of its last training here that it has behind it; 0 where it has none."""
        return 0

    @abstractmethod
    def origin(self) -> dict[str, Any]:
        """Where it comes from, in words and numbers for a reader."""


class Derived(Model):
    """A model that is described as another one is, but answers otherwise.

    Attributes:
        model: The model that describes it.
    """

    model: Model
    network = of("model.network")
    space = of("model.space")
    title = of("model.title")
    labels = of("model.labels")
    parent = of("model.parent")
    trained = of("model.trained")
    age = of("model.age")


def misfit(model: Model, weights: Mapping[str, Tensor]) -> str:
    """Why a state dict cannot be that of a model's network; empty if it can."""
    try:
        with torch.device("meta"):  # only names and shapes are compared, so no memory is needed
            model.build(weights, assign=True)
        return ""
    except RuntimeError as error:
        return " ".join(str(error).split())[:200]


@dataclass(frozen=True)
class Checkpoint:
    """A public model that others are fine-tuned from.

    Attributes:
        name: As pairs name it after ``checkpoint:``.
        where: A file relative to ``data.root``, or the name of torchvision weights.
        network: Its network with settings; stands in for ``axes.network`` where the checkpoint does.
        classes: Names of its classes, in label order.
        root: Folder of the file.
        rename: Prefixes of the file's names and what they are in the network; None where the network's own aliases do.
        adapter: Folder of a LoRA adapter that is merged into it, relative to ``root``; empty: none.
    """

    name: str
    where: str
    network: Component
    classes: Names
    root: Path
    rename: tuple[tuple[str, str], ...] | None = None
    adapter: str = ""

    @property
    def change(self) -> Adapter | None:
        """The adapter.

        Raises:
            DataError: It cannot be merged.
        """
        return Adapter.read(self.root / self.adapter) if self.adapter else None

    @property
    def title(self) -> str:
        """The name that tables and the axis of pairs have for it."""
        return f"checkpoint:{self.name}"


@dataclass(frozen=True)
class Public(Model, Node):
    """A root of the forest that others trained; its weights are copied into the store.

    Attributes:
        checkpoint: Where it comes from.
        space: Space of the images it is given.
    """

    KIND = WEIGHTS
    checkpoint: Checkpoint
    space: Component
    parent = None
    network = of("checkpoint.network")
    title = of("checkpoint.title")
    labels = of("checkpoint.classes")

    @property
    @override
    def nodes(self) -> tuple[Node, ...]:
        return (self,)

    @cached_property
    def spec(self) -> dict[str, Any]:
        """What the key is the digest of."""
        renamed = {} if self.checkpoint.rename is None else {"rename": dict(self.checkpoint.rename)}
        change = self.checkpoint.change
        adapted = {} if change is None else {"adapter": change.digest}
        return (
            renamed
            | adapted
            | {
                "kind": "checkpoint",
                "content": checkpoint_digest(self.checkpoint.where, self.checkpoint.root),
                "network": asdict(self.network),
                "image_shape": list(get_space(self.space).image_shape),
                "labels": len(self.labels),
            }
        )

    @override
    def fault(self, key: str, record: Any) -> str:
        return misfit(self, record)

    @override
    def note(self, made: Mapping[str, Any]) -> str:
        return "read"

    @override
    def make(self, hands: Hands, store: Store) -> tuple[Mapping[str, Any], Made]:
        source = self.checkpoint
        with torch.device("meta"):  # only names and shapes are needed, and no random number may be drawn
            network = self.build()
        rename = None if source.rename is None else dict(source.rename)
        change = source.change
        weights = load_checkpoint(source.where, source.root, network, rename, change)
        now = (checkpoint_digest(source.where, source.root), change and change.digest)
        if now != (self.spec["content"], self.spec.get("adapter")):
            raise DataError(f"{self} changed while the bench ran: run the bench again.")
        hands.advance(self.work)
        return {self.key: weights}, {"device": device_name(torch.device("cpu"))}

    @override
    def origin(self) -> dict[str, Any]:
        return {"key": self.key, "domain": self.title, "by": self._by, "parent": None}

    @property
    def _by(self) -> str:
        return " + ".join(filter(None, (self.checkpoint.where, self.checkpoint.adapter)))

    def __str__(self) -> str:
        return self.title
