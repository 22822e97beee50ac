"""Models made of several: they answer together, or their weights are averaged."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from math import ceil
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn
from typing_extensions import override

from tl_robust.data.batches import Batches
from tl_robust.errors import ConfigError
from tl_robust.models.ensemble import Voting
from tl_robust.nodes.hands import Hands, seeded
from tl_robust.nodes.kind import Address
from tl_robust.nodes.models import WEIGHTS, Derived, Model, misfit
from tl_robust.nodes.node import Made, Node
from tl_robust.nodes.provenance import device_name
from tl_robust.nodes.store import Store
from tl_robust.nodes.training import Training
from tl_robust.registry import Component
from tl_robust.seeding import derive


@dataclass(frozen=True)
class Several(Derived):
    """What is common to models made of several; the first of them describes them all.

    Attributes:
        models: At least two, all with the same network and classes.
    """

    models: tuple[Model, ...]

    @property
    def model(self) -> Model:  # type: ignore[override]
        """The model that describes them all."""
        return self.models[0]

    def each(self, change: Callable[[Model], Model]) -> Self:
        """The same of models that are changed."""
        return replace(self, models=tuple(map(change, self.models)))

    @override
    def again(self, salt: str) -> Self:
        return self.each(lambda model: model.again(salt))

    @override
    def anew(self) -> Self:
        return self.each(lambda model: model.anew())

    @override
    def defended(self, defense: Component) -> Self:
        return self.each(lambda model: model.defended(defense))

    @override
    def mapped(self, change: Callable[[Any, str], Any]) -> Self:
        return self.each(lambda model: model.mapped(change))

    @override
    def taught(self, defense: Component, epochs: int = 0, fresh: bool = True) -> Model:
        student = self.model.taught(defense, epochs, fresh)
        assert isinstance(student, Training)
        return replace(student, others=(("teacher", self),))

    @override
    def origin(self) -> dict[str, Any]:
        return self.model.origin() | {"key": self.key, "members": len(self.models)}

    @property
    def _needed(self) -> tuple[Node, ...]:
        return tuple(node for model in self.models for node in model.nodes)

    @property
    def _read(self) -> tuple[Address, ...]:
        return tuple(address for model in self.models for address in model.addresses)


@dataclass(frozen=True)
class Members(Several):
    """Models that answer together.

    Attributes:
        fuse: What the mean is taken of, ``logits`` or ``probabilities``.
    """

    alone = False
    fuse: str = "logits"

    @cached_property
    def spec(self) -> dict[str, Any]:
        """What the key is the digest of."""
        return {"kind": "members", "models": [model.key for model in self.models], "fuse": self.fuse}

    @property
    @override
    def nodes(self) -> tuple[Node, ...]:
        return self._needed

    @property
    @override
    def addresses(self) -> tuple[Address, ...]:
        return self._read

    @override
    def load(self, store: Store) -> nn.Module:
        return Voting([model.load(store) for model in self.models], self.fuse)

    @override
    def check_features(self) -> None:
        raise ConfigError(f"{self} have no features in common, which a detector could look at: leave one of them out.")

    @override
    def at(self, epoch: int) -> Members:
        return self.each(lambda model: model.at(epoch))

    @override
    def further(self, epochs: int, defense: Component | None = None) -> Members:
        return self.each(lambda model: model.further(epochs, defense))

    def __str__(self) -> str:
        return f"{len(self.models)} members, the first of them {self.model}"


@dataclass(frozen=True)
class Soup(Several, Node):
    """The mean weights of several models, with BatchNorm statistics anew.

    The statistics are those of one pass over the clean images that the first model learned from, with dropout on.
    """

    KIND = WEIGHTS

    @cached_property
    def spec(self) -> dict[str, Any]:
        """What the key is the digest of."""
        return {"kind": "soup", "models": [model.key for model in self.models]}

    @property
    @override
    def nodes(self) -> tuple[Node, ...]:
        return (*self._needed, self)

    @property
    @override
    def needs(self) -> tuple[Address, ...]:
        return self._read

    @override
    def fault(self, key: str, record: Any) -> str:
        return misfit(self, record)

    @override
    def at(self, epoch: int) -> Model:
        """Where the models are epochs of one training, those that were there."""
        models = tuple({model.key: model for model in (each.at(min(epoch, each.age)) for each in self.models)}.values())
        return replace(self, models=models) if len(models) > 1 else models[0]

    @override
    def further(self, epochs: int, defense: Component | None = None) -> Training:
        further = self.model.further(epochs, defense)
        assert isinstance(further, Training)
        return replace(further, parent=self)

    @property
    def age(self) -> int:
        """Epochs of the last training."""
        return max(model.age for model in self.models)

    @override
    def make(self, hands: Hands, store: Store) -> tuple[Mapping[str, Any], Made]:
        trained = self.model.trained
        assert isinstance(trained, Training)
        network = self.build(averaged([store.load(WEIGHTS, address.key) for address in self.needs]))
        places, _ = trained.data.parts(trained.recipe.val_share)
        with hands.tester([]) as trainer, seeded(derive("soup", self.key)), torch.no_grad():
            device, order = trainer.strategy.root_device, derive("order", self.key)
            batches = ceil(len(places) / trained.recipe.batch_size)  # each counts the same: of one size
            images = Batches(trained.data.images("train"), ceil(len(places) / batches), places, order, device)
            update_bn(images, network.to(device), device)
        hands.advance(self.work)
        return {self.key: network.state_dict()}, {"device": device_name(device)}

    @override
    def note(self, made: Mapping[str, Any]) -> str:
        return "averaged"

    def __str__(self) -> str:
        return f"mean weights of {len(self.models)} models, the first of them {self.model}"


def averaged(states: list[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of state dicts; what is no floating-point number is the first one's."""
    first = states[0]
    return {
        name: torch.stack([state[name].double() for state in states]).mean(0).to(value.dtype)
        if value.is_floating_point()
        else value
        for name, value in first.items()
    }
