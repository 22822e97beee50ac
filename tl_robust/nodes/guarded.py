"""Guarded models: a network with a defense around it; the weights are those of the network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from tl_robust.data.mapped import DomainInSpace, held_out
from tl_robust.defenses import Defense, build
from tl_robust.nodes.hands import Hands
from tl_robust.nodes.kind import Address, Kind
from tl_robust.nodes.models import Derived, Model
from tl_robust.nodes.node import Made, Node, of
from tl_robust.nodes.payload import pack_weights, unpack_weights
from tl_robust.nodes.provenance import device_name
from tl_robust.nodes.store import Store
from tl_robust.registry import Component
from tl_robust.seeding import derive

GUARDS = Kind("guards", "guard.safetensors", "guard", pack_weights, unpack_weights)
Components = tuple[Component, ...]


@dataclass(frozen=True)
class Guarded(Derived):
    """A model behind a defense.

    Attributes:
        model: The model.
        defense: The parts of the defense that guard a trained network, from the inside out.
        data: The target domain; the validation part of its training split is what a guard is fitted on.
        val_share: Share of the validation part.
    """

    alone = False
    model: Model
    defense: Components
    data: DomainInSpace
    val_share: float

    @cached_property
    def spec(self) -> dict[str, Any]:
        """What the key is the digest of."""
        guard = self._fitting
        return {
            "kind": "guarded",
            "model": self.model.key,
            "defense": [asdict(component) for component in self.defense],
            "fitted": guard.key if guard else None,
        }

    @cached_property
    def _fitting(self) -> Fitting | None:
        """What the guard is fitted by; None where there is nothing to fit."""
        return Fitting(self) if "fit" in self.built.acts else None

    @cached_property
    def built(self) -> Defense:
        """The defense with its settings, made once."""
        return build(self.defense)

    @property
    @override
    def nodes(self) -> tuple[Node, ...]:
        return (*self.model.nodes, *filter(None, [self._fitting]))

    @property
    @override
    def addresses(self) -> tuple[Address, ...]:
        fitting = self._fitting
        return (*self.model.addresses, *([Address(GUARDS, fitting.key, str(fitting))] if fitting else []))

    @override
    def load(self, store: Store) -> nn.Module:
        fitted = store.load(GUARDS, self._fitting.key) if self._fitting else {}
        return self.built.wrap(self.model.load(store), fitted)

    @override
    def again(self, salt: str) -> Guarded:
        return self.around(self.model.again(salt))

    @override
    def at(self, epoch: int) -> Guarded:
        return self.around(self.model.at(epoch))

    @override
    def mapped(self, change: Callable[[Any, str], Any]) -> Guarded:
        return self.around(self.model.mapped(change))

    @override
    def further(self, epochs: int, defense: Component | None = None) -> Guarded:
        return self.around(self.model.further(epochs, defense))

    def around(self, model: Model) -> Guarded:
        """The same guard around another model."""
        return replace(self, model=model)

    @override
    def origin(self) -> dict[str, Any]:
        return self.model.origin() | {"key": self.key, "defense": " + ".join(map(str, self.defense))}

    def __str__(self) -> str:
        return f"{self.model} behind {' + '.join(map(str, self.defense))}"


@dataclass(frozen=True)
class Fitting(Node):
    """What a guard is fitted with: thresholds, means, and all that it draws at random.

    Attributes:
        guarded: The model behind the guard. Its key is made of this node's key, so nothing here may ask for it.
    """

    KIND = GUARDS
    guarded: Guarded
    needs = of("guarded.model.addresses")

    @cached_property
    def spec(self) -> dict[str, Any]:
        """What the key is the digest of."""
        return {
            "kind": "guard",
            "model": self.guarded.model.key,
            "defense": [asdict(component) for component in self.guarded.defense],
            "images": self.guarded.data.images("train").fingerprint,
            "val_share": self.guarded.val_share,
        }

    @override
    def make(self, hands: Hands, store: Store) -> tuple[Mapping[str, dict[str, Tensor]], Made]:
        guarded = self.guarded
        images = held_out(guarded.data, guarded.val_share)
        with hands.tester([]) as trainer, torch.no_grad():
            device = trainer.strategy.root_device
            network = guarded.model.load(store).to(device).eval()
            fitted = guarded.built.fit(network, images, derive("guard", guarded.model.key))
        hands.advance(1)
        return {self.key: fitted}, {"device": device_name(device)}

    def __str__(self) -> str:
        return f"{' + '.join(map(str, self.guarded.defense))} on {self.guarded.model}"
