"""The forest of trainings, the craft groups on it and their keys.

A key is the SHA-256 of everything that can change what is stored under it. The name of a cell's strategy is not in it:
CommonInit's models are FineTune models of another edge.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from tl_robust.data.domain import DomainInSpace
from tl_robust.data.space import SPACES
from tl_robust.registry import Component, Scalar
from tl_robust.seeding import digest
from tl_robust.strategies import STRATEGIES
from tl_robust.types import Recipe


@dataclass(frozen=True)
class Training:
    """One node of the forest.

    Attributes:
        data: Domain in a space; its training split is learned from.
        network: Network with settings.
        recipe: Optimizer, schedule and choice of the epoch.
        seed: Seed of weights, order and dropout.
        by: The strategy whose hooks train it.
        parent: The node it starts from, None at a root.
        trainer: Options of the Lightning Trainer that can change weights.
    """

    data: DomainInSpace
    network: Component
    recipe: Recipe
    seed: int
    by: Component
    parent: Training | None = None
    trainer: tuple[tuple[str, Scalar], ...] = ()

    @cached_property
    def spec(self) -> dict[str, Any]:
        """What the key is the digest of."""
        return {
            "kind": "training",
            "domain": self.data.domain,
            "space": [self.data.space, SPACES[self.data.space].VERSION],
            "images": self.data.images("train").fingerprint,
            "network": asdict(self.network),
            "recipe": asdict(self.recipe),
            "seed": self.seed,
            "by": asdict(self.by),
            "parent": self.parent.key if self.parent else None,
            "trainer": dict(self.trainer),
        }

    @cached_property
    def key(self) -> str:
        """SHA-256 of the spec."""
        return digest(self.spec)

    def __str__(self) -> str:
        start = f" from {self.parent.data.domain}" if self.parent else ""
        grand = f" from {self.parent.parent.data.domain}" if self.parent and self.parent.parent else ""
        return f"{self.by.name} {self.data.domain}{start}{grand}, seed {self.seed}"


@dataclass(frozen=True)
class CraftGroup:
    """Adversarial examples that are crafted once, for all eps and victims.

    Attributes:
        surrogate: The model that gradients come from.
        test: The domain whose test split is attacked.
        attack: Attack with settings.
        eps: Sizes in [0,1] pixel units, ascending.
        seed: Seed of the attack's random draws.
    """

    surrogate: Training
    test: DomainInSpace
    attack: Component
    eps: tuple[float, ...]
    seed: int

    @cached_property
    def spec(self) -> dict[str, Any]:
        """What the key is the digest of."""
        return {
            "kind": "craft group",
            "surrogate": self.surrogate.key,
            "images": self.test.images("test").fingerprint,
            "attack": asdict(self.attack),
            "eps": list(self.eps),
            "seed": self.seed,
        }

    @cached_property
    def key(self) -> str:
        """SHA-256 of the spec."""
        return digest(self.spec)

    def __str__(self) -> str:
        return f"{self.attack} on {self.surrogate} against {self.test.domain}"


@dataclass(frozen=True)
class Judgment:
    """One victim judged in a craft group: what an outcome is stored under."""

    group: CraftGroup
    victim: Training

    @cached_property
    def spec(self) -> dict[str, Any]:
        """What the key is the digest of."""
        return {"kind": "outcome", "group": self.group.spec, "victim": self.victim.key}

    @cached_property
    def key(self) -> str:
        """SHA-256 of the spec."""
        return digest(self.spec)


class Forest:
    """Names trainings of one network, seed and set of Trainer options; the ``train`` of :meth:`TransferTask.lineage`.

    Args:
        network: Network with settings.
        recipe: Recipe of a domain by its name.
        seed: Seed.
        trainer: Options of the Lightning Trainer that can change weights.
    """

    def __init__(
        self,
        network: Component,
        recipe: Callable[[str], Recipe],
        seed: int,
        trainer: Mapping[str, Scalar] | None = None,
    ) -> None:
        self._network = network
        self._recipe = recipe
        self._seed = seed
        self._trainer = tuple(sorted((trainer or {}).items()))

    def __call__(self, domain: DomainInSpace, parent: Training | None = None, by: str | None = None) -> Training:
        """The training of ``domain`` from ``parent``; see :class:`tl_robust.strategies.Train`."""
        component = STRATEGIES.component(by or ("scratch" if parent is None else "finetune"))
        recipe = self._recipe(domain.domain)
        return Training(domain, self._network, recipe, self._seed, component, parent, self._trainer)
