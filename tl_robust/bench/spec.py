"""A bench, resolved: names checked, numbers parsed, frozen. ``config/`` makes it from YAML."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tl_robust.data.domain import DataSettings
from tl_robust.defenses import Defense
from tl_robust.nodes.models import Checkpoint
from tl_robust.registry import Component, Scalar
from tl_robust.threats.base import Method
from tl_robust.types import Recipe, View

DEVICE_OPTIONS = ("accelerator",)  # where it runs is recorded, but does not make another training


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
        defense: What protects the models; None where nothing does.
        attack: Methods of all threats.
        view: What the attacker knows.
        seed: Seeds of training and attack.
    """

    pair: tuple[PairSpec, ...]
    network: tuple[Component, ...]
    strategy: tuple[Component, ...]
    common: tuple[str, ...]
    target_images: tuple[float, ...]
    attack: tuple[Method, ...]
    view: tuple[View, ...]
    seed: tuple[int, ...]
    defense: tuple[Defense | None, ...] = (None,)


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
        plugins: Plugin folders, absolute.
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
    plugins: tuple[Path, ...] = ()

    @property
    def weight_options(self) -> dict[str, Scalar]:
        """Options of the Trainer that can change weights."""
        return {name: value for name, value in self.trainer.items() if name not in DEVICE_OPTIONS}

    def recipe_of(self, domain: str) -> Recipe:
        """The recipe of trainings on a domain."""
        return replace(self.recipe, **self.recipes.get(domain, {}))
