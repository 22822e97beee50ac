"""What a training is poisoned with, and what an attacker learns from a clean model before he does so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from tl_robust.backdoors import Backdoor, Poisoned, build
from tl_robust.data.mapped import DomainInSpace
from tl_robust.nodes.hands import Hands
from tl_robust.nodes.kind import Address, Kind
from tl_robust.nodes.models import Model
from tl_robust.nodes.node import Made, Node, of
from tl_robust.nodes.payload import pack_weights, unpack_weights
from tl_robust.nodes.provenance import device_name
from tl_robust.nodes.store import Store
from tl_robust.registry import Component
from tl_robust.seeding import derive
from tl_robust.types import ImageSet, Recipe

TRIGGERS = Kind("triggers", "trigger.safetensors", "trigger", pack_weights, unpack_weights)


@dataclass(frozen=True)
class TriggerFit(Node):
    """What a backdoor learns from a clean model.

    Attributes:
        backdoor: The backdoor with settings.
        target: The class t.
        model: The clean model.
        data: Domain in a space; the part of its training split that is learned from is known to the attacker.
        recipe: Says how large that part is.
    """

    KIND = TRIGGERS
    backdoor: Component
    target: int
    model: Model
    data: DomainInSpace
    recipe: Recipe
    needs = of("model.addresses")

    @cached_property
    def spec(self) -> dict[str, Any]:
        """What the key is the digest of."""
        return {
            "kind": "trigger",
            "backdoor": asdict(self.backdoor),
            "target": self.target,
            "model": self.model.key,
            "images": self.data.images("train").fingerprint,
            "val_share": self.recipe.val_share,
        }

    @override
    def make(self, hands: Hands, store: Store) -> tuple[Mapping[str, dict[str, Tensor]], Made]:
        images = learned(self.data, self.recipe)
        with hands.tester([]) as trainer:
            device = trainer.strategy.root_device
            network = self.model.load(store).to(device).eval().requires_grad_(False)
            fitted = build(self.backdoor).fit(network, images, self.target, derive("trigger", self.key))
        hands.advance(1)
        return {self.key: {name: value.cpu() for name, value in fitted.items()}}, {"device": device_name(device)}

    def __str__(self) -> str:
        return f"{self.backdoor} on {self.model}"


@dataclass(frozen=True)
class Poison:
    """A backdoor with all that it needs to poison a training.

    Attributes:
        backdoor: The backdoor with the settings that change poisoned images.
        target: The class t, as the poisoned training numbers it.
        fit: What it learned from a clean model, which follows from the training that it poisons; None where it learns
            nothing.
        joins: The attacker adds to the loss too, where his backdoor does so; he cannot where a user trains.
    """

    backdoor: Component
    target: int
    fit: TriggerFit | None = None
    joins: bool = True

    @cached_property
    def built(self) -> Backdoor:
        """The backdoor with its settings, made once."""
        return build(self.backdoor)

    @property
    def spec(self) -> dict[str, Any]:
        """Everything that can change what is poisoned, beside the training itself."""
        joins = {"joins": False} if self.built.owns and not self.joins else {}
        return {"backdoor": asdict(self.backdoor), "target": self.target} | joins

    @property
    def adds(self) -> bool:
        """Something is added to the loss."""
        return self.joins and self.built.owns

    @property
    def nodes(self) -> tuple[Node, ...]:
        """What must be computed for it."""
        return (*self.fit.model.nodes, self.fit) if self.fit else ()

    @property
    def addresses(self) -> tuple[Address, ...]:
        """The entries of the store that it needs."""
        return (Address(TRIGGERS, self.fit.key, str(self.fit)),) if self.fit else ()

    def fitted(self, store: Store) -> Mapping[str, Tensor]:
        """What it learned from a clean model.

        Raises:
            StoreError: It is not in the store.
        """
        found: Mapping[str, Tensor] = store.load(TRIGGERS, self.fit.key) if self.fit else {}
        return found

    def check(self, data: DomainInSpace, recipe: Recipe, seed: int) -> None:
        """Check that the training images of a domain can be poisoned, before anything is trained.

        Raises:
            ConfigError: The rate poisons no image, or more than there are, the trigger is larger than the images, or
                the network has no such parts as the attacker needs.
        """
        self.built.chosen(learned_labels(data, recipe), self.target, seed)
        if self.fit:
            with torch.device("meta"):
                self.built.check(self.fit.model.build())
        else:
            self.built.stamp(data.images("train").images[:1], torch.arange(1), {})

    def of(self, images: ImageSet, seed: int, fitted: Mapping[str, Tensor]) -> Poisoned:
        """The images with poison among them.

        Args:
            images: Clean images that would be learned from.
            seed: Seed of the training.
            fitted: What :meth:`fitted` returned.

        Raises:
            ConfigError: The rate poisons no image, or more than there are.
        """
        return self.built.poison(images, self.target, seed, fitted)

    def __str__(self) -> str:
        return f"poisoned by {self.backdoor}"


def learned(data: DomainInSpace, recipe: Recipe) -> ImageSet:
    """The training images that are learned from: without those that choose the epoch."""
    images = data.images("train")
    return images if recipe.select == "test" else images.take(data.parts(recipe.val_share)[0])


def learned_labels(data: DomainInSpace, recipe: Recipe) -> Tensor:
    """Their labels, int64 ``[N]``."""
    images = data.images("train")
    every = recipe.select == "test"
    return images.labels if every else images.labels[data.parts(recipe.val_share)[0]]
