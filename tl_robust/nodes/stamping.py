"""A stamped test set, and what one victim says of it along its training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from tl_robust.backdoors import build
from tl_robust.backdoors.judge import StampTest
from tl_robust.data.mapped import DomainInSpace
from tl_robust.defenses import DEFENSES
from tl_robust.defenses.sifting import Filter
from tl_robust.nodes.hands import Hands
from tl_robust.nodes.kind import Address, Kind
from tl_robust.nodes.models import Model
from tl_robust.nodes.node import Made, Node
from tl_robust.nodes.payload import pack_record, unpack_record
from tl_robust.nodes.poisoning import TRIGGERS, TriggerFit, learned
from tl_robust.nodes.provenance import device_name
from tl_robust.nodes.store import Store
from tl_robust.nodes.training import Training
from tl_robust.registry import Component
from tl_robust.types import Stamped

STAMPED = Kind("stamped", "stamped.npz", "backdoor", pack_record, partial(unpack_record, Stamped))


@dataclass(frozen=True)
class Carrier:
    """The public model that a backdoor comes with, or its clean twin.

    Attributes:
        model: The model.
        data: Its own domain.
        target: The class t as it numbers it.
    """

    model: Model
    data: DomainInSpace
    target: int


@dataclass(frozen=True)
class Stamping(Node):
    """What a victim says of every test image, clean and stamped, after several of its epochs.

    Attributes:
        stamp: The backdoor with the settings of its trigger alone.
        target: The class t as the victim numbers it.
        test: The target domain.
        victim: The victim after each of the epochs.
        epochs: Epochs.
        fit: What the trigger learned from a clean model; None where it learns nothing.
        carrier: The public model that is poisoned; None where none is.
        poisoned: The training whose images were poisoned; None of a clean twin.
        sifted: The training whose images a filter chose; None where there is no filter.
    """

    KIND = STAMPED
    stamp: Component
    target: int
    test: DomainInSpace
    victims: tuple[Model, ...]
    epochs: tuple[int, ...]
    fit: TriggerFit | None = None
    carrier: Carrier | None = None
    poisoned: Training | None = None
    sifted: Training | None = None

    @cached_property
    def spec(self) -> dict[str, Any]:
        """What the key is the digest of."""
        carrier = self.carrier
        own = [carrier.model.key, carrier.data.images("test").fingerprint, carrier.target] if carrier else None
        later = {"sifted": self.sifted.key if self.sifted else None}
        return {
            **{name: value for name, value in later.items() if value},
            "kind": "stamped",
            "stamp": asdict(self.stamp),
            "fit": self.fit.key if self.fit else None,
            "target": self.target,
            "images": self.test.images("test").fingerprint,
            "victims": [victim.key for victim in self.victims],
            "carrier": own,
            "poisoned": self.poisoned.key if self.poisoned else None,
        }

    @property
    def address(self) -> Address:
        """Where the store keeps the record."""
        return Address(STAMPED, self.key, str(self))

    @property
    def _asked(self) -> tuple[Model, ...]:
        others = [model for _, model in self.sifted.others] if self.sifted else []
        return (*self.victims, *([self.carrier.model] if self.carrier else []), *others)

    @property
    def nodes(self) -> tuple[Node, ...]:
        """What must be computed for it, and itself."""
        fit = (*self.fit.model.nodes, self.fit) if self.fit else ()
        return (*(node for model in self._asked for node in model.nodes), *fit, self)

    @property
    @override
    def needs(self) -> tuple[Address, ...]:
        needs = [address for model in self._asked for address in model.addresses]
        needs += [Address(TRIGGERS, self.fit.key, str(self.fit))] if self.fit else []
        return tuple(dict.fromkeys(needs))

    @property
    @override
    def work(self) -> int:
        return len(self.test.images("test")) * len(self.victims)

    @override
    def make(self, hands: Hands, store: Store) -> tuple[Mapping[str, Stamped], Made]:
        fitted: Mapping[str, Tensor] = store.load(TRIGGERS, self.fit.key) if self.fit else {}
        test = StampTest(build(self.stamp), self.test.images("test"), self.target, fitted)
        said = []
        with hands.tester([]) as trainer:
            device = trainer.strategy.root_device
            for victim in self.victims:
                said.append(test.ask(victim.load(store).to(device), device))
                hands.advance(len(test.images))
            more = self._of_carrier(test, store, device) | self._sifted(store, device)
        last = self.victims[0].trained
        count = len(learned(last.data, last.recipe)) if isinstance(last, Training) else 0
        seen = [victim.age * count for victim in self.victims]
        record = test.record(said, self.epochs, seen, {"poison": self._poison(store)} | more)
        return {self.key: record}, {"device": device_name(device)}

    def _of_carrier(self, test: StampTest, store: Store, device: torch.device) -> dict[str, Tensor]:
        """What the poisoned public model says of the stamped target images, and of its own, clean and stamped."""
        if self.carrier is None:
            return {}
        model, target = self.carrier.model.load(store).to(device), self.carrier.target
        own = StampTest(test.backdoor, self.carrier.data.images("test"), target, test.fitted)
        at_home = own.ask(model, device)
        return {
            "carrier": test.ask(model, device).stamped,
            "carrier_target": torch.tensor(target),
            "origin_label": own.images.labels,
            "origin_clean": at_home.clean,
            "origin_stamped": at_home.stamped,
        }

    def _poison(self, store: Store) -> Tensor:
        if self.poisoned is None or self.poisoned.poison is None:
            return torch.zeros(4, dtype=torch.int64)
        poison, images = self.poisoned.poison, learned(self.poisoned.data, self.poisoned.recipe)
        made = poison.of(images, self.poisoned.seed, poison.fitted(store))
        labelled = int((made.images.labels == poison.target).sum())
        return torch.tensor([made.asked, int(made.mask.sum()), len(images), labelled])

    def _sifted(self, store: Store, device: torch.device) -> dict[str, Tensor]:
        """What the filter of a training thought of every image that it was offered."""
        training = self.sifted
        if training is None:
            return {}
        images, mask = learned(training.data, training.recipe), None
        if poison := training.poison:
            made = poison.of(images, training.seed, poison.fitted(store))
            images, mask = made.images, made.mask
        others = {name: model.load(store).to(device).eval() for name, model in training.others}
        sieve = filters(training)[0]
        scores = sieve.scores(images, others)
        return {
            "sifted_score": scores.float().cpu(),
            "sifted_label": images.labels,
            "sifted_poisoned": torch.zeros(len(images), dtype=torch.bool) if mask is None else mask,
            "sifted_kept": sieve.kept(images, scores).cpu(),
        }

    def __str__(self) -> str:
        return f"{self.stamp} on {self.victims[-1]}"


def filters(training: Training) -> list[Filter]:
    """The filters that join in a training."""
    built = [DEFENSES[part.name](**dict(part.settings)) for part in training.defense]
    return [defense for defense in built if isinstance(defense, Filter)]
