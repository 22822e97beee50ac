"""What a bench needs: its cells, and under them the unique trainings and craft groups."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import product

from tl_robust.bench.lineage import CraftGroup, Forest, Judgment, Training
from tl_robust.bench.spec import AttackSpec, Bench
from tl_robust.bench.store import Store
from tl_robust.data.domain import DOMAINS, DomainInSpace, split_validation
from tl_robust.data.pair import get_pair
from tl_robust.errors import ConfigError
from tl_robust.seeding import digest
from tl_robust.strategies import STRATEGIES
from tl_robust.types import Cell


@dataclass(frozen=True)
class PlannedCell:
    """A cell and what it needs.

    Attributes:
        cell: Coordinates.
        surrogate: A.
        victim: B.
        judgment: Where the outcome comes from.
        white: B attacked directly, where the bench has the white view too.
    """

    cell: Cell
    surrogate: Training
    victim: Training
    judgment: Judgment
    white: Judgment | None

    @cached_property
    def key(self) -> str:
        """16 hex digits of the SHA-256 of coordinates and outcome: the id of the cell's W&B run."""
        return digest([vars(self.cell), self.judgment.key, self.white.key if self.white else None])[:16]


@dataclass(frozen=True)
class Plan:
    """Cells in the order of the tables, and the nodes under them."""

    cells: tuple[PlannedCell, ...]

    @cached_property
    def trainings(self) -> tuple[Training, ...]:
        """Unique trainings, parents first."""
        found: dict[str, Training] = {}

        def add(training: Training) -> None:
            if training.parent:
                add(training.parent)
            found.setdefault(training.key, training)

        for cell in self.cells:
            add(cell.surrogate)
            add(cell.victim)
        return tuple(found.values())

    @cached_property
    def groups(self) -> tuple[tuple[CraftGroup, tuple[Judgment, ...]], ...]:
        """Unique craft groups, each with the judgments made in its pass."""
        groups: dict[str, dict[str, Judgment]] = {}
        for cell in self.cells:
            for judgment in (cell.judgment, cell.white):
                if judgment:
                    groups.setdefault(judgment.group.key, {})[judgment.key] = judgment
        return tuple((next(iter(found.values())).group, tuple(found.values())) for found in groups.values())

    def counts(self, store: Store) -> dict[str, int]:
        """Numbers of cells, unique trainings, unique craft groups, and of cells whose outcome is in the store."""
        done = sum(
            all(store.has("outcomes", judgment.key) for judgment in (cell.judgment, cell.white) if judgment)
            for cell in self.cells
        )
        return {
            "cells": len(self.cells),
            "trainings": len(self.trainings),
            "craft_groups": len(self.groups),
            "done": done,
        }


def make_plan(bench: Bench) -> Plan:
    """Expand the axes of a bench.

    Raises:
        ConfigError: A strategy needs a common domain and none is left for a pair.
        DataError: A domain cannot be read, or has too few images.
    """
    axes = bench.axes
    cells: list[PlannedCell] = []
    for pair_name, network in product(axes.pair, axes.network):
        pair = get_pair(pair_name, bench.space)(bench.data)
        forests = {seed: Forest(network, bench.recipe_of, seed, bench.weight_options) for seed in axes.seed}
        for strategy, common in _starts(bench, pair_name, (pair.source, pair.target)):
            c = DomainInSpace(common, pair.space, bench.data) if common else None
            for attack, view, seed in product(axes.attack, axes.view, axes.seed):
                a, b = STRATEGIES[strategy].lineage(forests[seed], pair.side("source"), pair.side("target"), c)
                cell = Cell(
                    bench=bench.name,
                    source=pair.source,
                    target=pair.target,
                    network=str(network),
                    strategy=strategy,
                    common=common,
                    defense="none",
                    attack=attack.label,
                    norm=attack.build().norm,
                    view=view,
                    seed=seed,
                )
                white = _judgment(b, b, attack) if "white" in axes.view else None
                cells.append(PlannedCell(cell, a, b, _judgment(a if view == "black" else b, b, attack), white))
    plan = Plan(tuple(cells))
    for data, share in {(training.data, training.recipe.val_share) for training in plan.trainings}:
        split_validation(data.images("train"), share)  # says before anything runs that a set is too small
    return plan


def _judgment(surrogate: Training, victim: Training, attack: AttackSpec) -> Judgment:
    return Judgment(CraftGroup(surrogate, victim.data, attack.component, attack.eps, victim.seed), victim)


def _starts(bench: Bench, pair: str, taken: tuple[str, str]) -> list[tuple[str, str]]:
    """Strategies with each common domain that is neither source nor target; an empty name where there is none."""
    found: list[tuple[str, str]] = []
    for strategy in bench.axes.strategy:
        if not STRATEGIES[strategy].needs_common:
            found.append((strategy, ""))
            continue
        commons = [name for name in bench.axes.common if name not in taken]
        if not commons:
            raise ConfigError(
                f"strategy {strategy!r} needs a common domain besides those of {pair}: axes.common has "
                f"[{', '.join(bench.axes.common)}]; add one of {', '.join(sorted(set(DOMAINS.names()) - set(taken)))}."
            )
        found.extend((strategy, name) for name in commons)
    return found
