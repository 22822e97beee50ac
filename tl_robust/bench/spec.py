"""A bench, resolved: names checked, numbers parsed, frozen. ``config.py`` makes it from YAML."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tl_robust.attacks import get as get_attack
from tl_robust.attacks.base import Attack
from tl_robust.attacks.norms import check_eps
from tl_robust.data.domain import DataSettings
from tl_robust.data.names import Names
from tl_robust.registry import Component, Scalar
from tl_robust.types import Recipe, View

DEVICE_OPTIONS = ("accelerator",)  # where it runs is recorded, but does not make another training


@dataclass(frozen=True)
class AttackSpec:
    """An attack of a bench.

    Attributes:
        component: Registered name and settings.
        eps: Sizes in [0,1] pixel units, ascending.
    """

    component: Component
    eps: tuple[float, ...]

    def __post_init__(self) -> None:
        check_eps(list(self.eps), self.build().norm)

    def build(self) -> Attack:
        """The attack."""
        return get_attack(self.component.name, **dict(self.component.settings))

    @property
    def label(self) -> str:
        """Name and settings without the norm, as tables show it."""
        settings = tuple(item for item in self.component.settings if item[0] != "norm")
        return str(replace(self.component, settings=settings))


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
    """

    name: str
    where: str
    network: Component
    classes: Names
    root: Path
    rename: tuple[tuple[str, str], ...] | None = None

    @property
    def title(self) -> str:
        """As tables name it."""
        return f"checkpoint:{self.name}"


@dataclass(frozen=True)
class PairSpec:
    """A pair of a bench.

    Attributes:
        name: ``source-target``, ``checkpoint:NAME-target``, or a registered pair.
        space: Space with settings, where the pair does not name one itself.
    """

    name: str
    space: Component


@dataclass(frozen=True)
class Axes:
    """The grid: every combination is a cell.

    Attributes:
        pair: Pairs.
        network: Networks.
        strategy: Strategies with settings.
        common: Common domains or checkpoints, for the strategies that have one.
        target_images: Part of the target's training images that B learns from: up to 1 a share, above 1 a number.
        attack: Attacks.
        view: ``white``, ``black``.
        seed: Seeds of training and attack.
    """

    pair: tuple[PairSpec, ...]
    network: tuple[Component, ...]
    strategy: tuple[Component, ...]
    common: tuple[str, ...]
    target_images: tuple[float, ...]
    attack: tuple[AttackSpec, ...]
    view: tuple[View, ...]
    seed: tuple[int, ...]


@dataclass(frozen=True)
class Bench:
    """Everything that decides a bench's numbers, and how it runs.

    Attributes:
        name: Name of the bench and of its results folder.
        axes: The grid.
        data: Where data lie and how much is used.
        recipe: Recipe of trainings.
        recipes: Fields of the recipe that differ for a domain.
        checkpoints: Public models by name.
        trainer: Options of the Lightning Trainer.
        attack_batch: Images an attack works on at a time; changes float rounding at most. 0: measured.
        fast: Fast modes of attacks, behind the gate.
    """

    name: str
    axes: Axes
    data: DataSettings = field(default_factory=DataSettings)
    recipe: Recipe = field(default_factory=Recipe)
    recipes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    checkpoints: Mapping[str, Checkpoint] = field(default_factory=dict)
    trainer: Mapping[str, Scalar] = field(default_factory=dict)
    attack_batch: int = 250
    fast: tuple[str, ...] = ()

    @property
    def weight_options(self) -> dict[str, Scalar]:
        """Options of the Trainer that can change weights."""
        return {name: value for name, value in self.trainer.items() if name not in DEVICE_OPTIONS}

    def recipe_of(self, domain: str) -> Recipe:
        """The recipe of trainings on a domain."""
        return replace(self.recipe, **self.recipes.get(domain, {}))
