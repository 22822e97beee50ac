"""Craft groups: adversarial examples that are crafted once and judged on every victim in the same pass."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any, Self

import torch
from torch import nn
from typing_extensions import override

from tl_robust.attacks import Attack, Judge
from tl_robust.attacks import get as get_attack
from tl_robust.callbacks import TransferAttack
from tl_robust.data.batches import Batches
from tl_robust.data.mapped import DomainInSpace, spread
from tl_robust.models.fast import accelerate, best_batch
from tl_robust.models.module import NetworkModule
from tl_robust.nodes.gate import Gate, compare, gate_places
from tl_robust.nodes.hands import Advance, Hands, Pixels, nothing, pixels
from tl_robust.nodes.kind import Address, Kind
from tl_robust.nodes.models import Model
from tl_robust.nodes.node import Made, Node
from tl_robust.nodes.payload import pack_outcome, unpack_outcome
from tl_robust.nodes.progress import Tested
from tl_robust.nodes.provenance import device_name
from tl_robust.nodes.store import Store
from tl_robust.registry import Component
from tl_robust.seeding import digest
from tl_robust.types import ImageSet, Outcome

OUTCOMES = Kind("outcomes", "outcome.npz", "attack", pack_outcome, unpack_outcome, unit="images")
POOL = 256  # images that an attack may learn from


@dataclass(frozen=True)
class CraftGroup(Node):
    """Adversarial examples for all eps, and what every victim makes of them.

    Attributes:
        surrogate: The model that gradients come from.
        test: The domain whose test split is attacked.
        attack: Attack with settings.
        eps: Sizes in [0,1] pixel units, ascending.
        seed: Seed of the attack's random draws.
        white: The surrogate is the only victim, so an iterative attack may stop where it is fooled.
        fast: Fast modes that are tried.
        through: What gradients are taken of where the surrogate is guarded, a name of ``attacks/through``.
        victims: Models that are asked about the examples; no part of the group's key, but of those of its entries.
    """

    KIND = OUTCOMES
    surrogate: Model
    test: DomainInSpace
    attack: Component
    eps: tuple[float, ...]
    seed: int
    white: bool = False
    fast: tuple[str, ...] = ()
    through: str = "exact"
    victims: tuple[Model, ...] = field(default=(), compare=False)

    @cached_property
    def built(self) -> Attack:
        """The attack with its settings, made once."""
        return get_attack(self.attack.name, **dict(self.attack.settings))

    @property
    def early(self) -> bool:
        """Whether crafting stops for a sample where the surrogate is fooled; one-step attacks have no such mode."""
        return self.white and self.built.ITERATES

    def pool(self) -> ImageSet | None:
        """Training images of the attacked domain, evenly spaced, for attacks that learn from some."""
        if not self.built.needs_pool:
            return None  # the training split is not even read: who audits a model may not have it
        images = self.test.images("train")
        return images.take(spread(len(images), POOL))

    @cached_property
    def same_labels(self) -> bool:
        """Whether the surrogate names classes as the test set does; else its own predictions stand for labels."""
        return self.surrogate.labels == self.test.labels

    @cached_property
    def spec(self) -> dict[str, Any]:
        """What the key is the digest of."""
        pool = self.pool()
        through = {} if self.through == "exact" else {"through": self.through}
        return {
            **through,
            "kind": "craft group",
            "early": self.early,
            "fast": list(self.fast),
            "pool": pool.fingerprint if pool else None,
            "same_labels": self.same_labels,
            "surrogate": self.surrogate.key,
            "images": self.test.images("test").fingerprint,
            "attack": asdict(self.attack),
            "eps": list(self.eps),
            "seed": self.seed,
        }

    def judgment(self, victim: Model) -> Address:
        """Where the store keeps what a victim made of the examples."""
        return Address(OUTCOMES, digest(self._judgment(victim)), f"{self}, judged on {victim}")

    def _judgment(self, victim: Model) -> dict[str, Any]:
        return {"kind": "outcome", "group": self.spec, "victim": victim.key}

    @cached_property
    def _by_key(self) -> dict[str, Model]:
        return {self.judgment(victim).key: victim for victim in self.victims}

    @property
    @override
    def entries(self) -> Mapping[str, Mapping[str, Any]]:
        return {key: self._judgment(victim) for key, victim in self._by_key.items()}

    @property
    @override
    def needs(self) -> tuple[Address, ...]:
        return tuple(dict.fromkeys(need for key in self._by_key for need in self.needs_of(key)))

    @override
    def needs_of(self, key: str) -> tuple[Address, ...]:
        return (*self.surrogate.addresses, *self._by_key[key].addresses)

    @property
    @override
    def work(self) -> int:
        return len(self.test.images("test"))

    @override
    def only(self, keys: Collection[str]) -> Self:
        return replace(self, victims=tuple(victim for key, victim in self._by_key.items() if key in keys))

    @override
    def joined(self, other: Self) -> Self:
        return replace(self, victims=tuple((self._by_key | other._by_key).values()))

    @override
    def label(self, key: str) -> str:
        return self.judgment(self._by_key[key]).title

    def __str__(self) -> str:
        through = "" if self.through == "exact" else f" through {self.through}"
        return f"{self.attack} on {self.surrogate}{through} against {self.test.domain}"

    @override
    def make(self, hands: Hands, store: Store) -> tuple[Mapping[str, Outcome], Made]:
        networks: dict[str, nn.Module] = {"": self.surrogate.load(store)}  # no victim's key is empty
        for key, victim in self._by_key.items():  # a victim that is the surrogate is not run twice
            networks[key] = networks[""] if victim.key == self.surrogate.key else victim.load(store)
        fast, refused = self._accelerated(networks)
        pool = self.pool()
        known = pixels(pool) if pool else None
        outcomes, device, batch = self._judged(hands, fast, known, hands.advance)
        speed: Made = {}
        if self.fast:
            speed = {"fast": list(self.fast), "refused": refused}
            if not refused:
                gate = self._gate(hands, networks, known, outcomes, batch)
                speed |= {"gate": asdict(gate)}
                if not gate.passed:
                    speed["refused"] = f"{gate.accuracy:.1%} of accuracy differ, {gate.predictions:.1%} of predictions"
                    outcomes, device, batch = self._judged(hands, networks, known, nothing)
        return outcomes, {"device": device_name(device), "attack_batch": batch} | speed

    def _judged(
        self, hands: Hands, networks: Mapping[str, nn.Module], pool: Pixels | None, advance: Advance
    ) -> tuple[dict[str, Outcome], torch.device, int]:
        """Outcomes by key of the networks, of which the one under the empty key is the surrogate."""
        task = NetworkModule(networks[""])
        victims = {key: task if network is networks[""] else network for key, network in networks.items() if key}
        callback = TransferAttack(self.built, victims, *self._options(pool))
        with hands.tester([callback, Tested(advance)]) as trainer:
            device = trainer.strategy.root_device
            images = self.test.images("test")
            batch = hands.attack_batch
            if not batch:
                first = images.take(torch.arange(min(len(images), 1000)))
                batch = best_batch(task.to(device).eval(), pixels(first)[0].to(device))
            trainer.test(task, dataloaders=Batches(images, batch, device=device), verbose=False)
        return callback.outcomes, device, batch

    def _options(self, pool: Pixels | None) -> tuple[Any, ...]:
        """What a judge is told beside attack and networks; not strict, since a network may have diverged."""
        return self.eps, self.seed, self.same_labels, self.early, pool, False, self.through

    def _gate(
        self,
        hands: Hands,
        networks: Mapping[str, nn.Module],
        pool: Pixels | None,
        outcomes: Mapping[str, Outcome],
        batch: int,
    ) -> Gate:
        """Attack a part of the test set again in full precision, and tell how far its outcomes differ."""
        images = self.test.images("test")
        with hands.tester([]) as trainer:
            device = trainer.strategy.root_device
            moved = {key: network.to(device) for key, network in networks.items()}
            victims = {key: network for key, network in moved.items() if key}
            judge = Judge(self.built, moved[""], victims, *self._options(pool))
            for places in gate_places(images.labels).split(batch):
                judge.update(*(tensor.to(device) for tensor in (*pixels(images.take(places)), places)))
        return compare(outcomes, judge.outcomes())

    def _accelerated(self, networks: Mapping[str, nn.Module]) -> tuple[Mapping[str, nn.Module], str]:
        """Faster copies, the surrogate's once; or the networks themselves and why they cannot be faster."""
        if not self.fast:
            return networks, ""
        if self.built.goal.INSIDE:
            return networks, "the objective looks inside the network"
        try:
            fast = {id(network): accelerate(network, self.fast) for network in networks.values()}
        except Exception as error:  # noqa: BLE001  (any network that torch cannot change is run as it is)
            return networks, f"{type(error).__name__}: {(str(error).splitlines() or ['-'])[0]}"
        return {key: fast[id(network)] for key, network in networks.items()}, ""
