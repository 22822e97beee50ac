"""What a bench needs: its cells, and under them the unique trainings and craft groups."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product

from tl_robust.bench.craft import CraftGroup, Examinee, Judgment, PictureGroup
from tl_robust.bench.lineage import Forest, Model, Public, Training
from tl_robust.bench.spec import AttackSpec, Bench, Checkpoint, PairSpec
from tl_robust.bench.store import Store
from tl_robust.data.domain import DOMAINS, get_domain
from tl_robust.data.mapped import DomainInSpace, check_classes, split_validation
from tl_robust.data.pair import get_pair, split_pair
from tl_robust.data.space import get_space
from tl_robust.errors import ConfigError, UnknownNameError
from tl_robust.registry import Component
from tl_robust.strategies import STRATEGIES
from tl_robust.types import Cell

CHECKPOINT = "checkpoint:"


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
    surrogate: Model
    victim: Training
    judgment: Judgment
    white: Judgment | None

    @property
    def examinees(self) -> tuple[Examinee, Examinee]:
        """A and B as the trust checks examine them; the same one in the white view."""
        group = self.judgment.group
        a, b = (
            Examinee(model, group.test, self.cell.norm, group.eps, group.seed)
            for model in (group.surrogate, self.victim)
        )
        return a, b

    @cached_property
    def key(self) -> str:
        """16 hex digits of the SHA-256 of coordinates and outcome: the id of the cell's W&B run."""
        return self.cell.key(self.judgment.key, {"white": self.white.key} if self.white else {})


@dataclass(frozen=True)
class Plan:
    """Cells in the order of the tables, and the nodes under them."""

    cells: tuple[PlannedCell, ...]

    @cached_property
    def trainings(self) -> tuple[Model, ...]:
        """Unique checkpoints, so that one that does not fit is told at once, and trainings, parents first."""
        found: dict[str, Model] = {}

        def add(training: Model) -> None:
            if training.parent:
                add(training.parent)
            found.setdefault(training.key, training)

        for cell in self.cells:
            add(cell.surrogate)
            add(cell.victim)
        return tuple(sorted(found.values(), key=lambda model: isinstance(model, Training)))

    @cached_property
    def sides(self) -> tuple[DomainInSpace, ...]:
        """The domains in their spaces that are trained and tested on, without the shares of labeled images."""
        used = [model.data for model in self.trainings if isinstance(model, Training)]
        return tuple(dict.fromkeys(replace(data, share=1.0) for data in used))

    @cached_property
    def groups(self) -> tuple[tuple[CraftGroup, tuple[Judgment, ...]], ...]:
        """Unique craft groups, each with the judgments made in its pass."""
        groups: dict[str, dict[str, Judgment]] = {}
        for cell in self.cells:
            for judgment in (cell.judgment, cell.white):
                if judgment:
                    groups.setdefault(judgment.group.key, {})[judgment.key] = judgment
        return tuple((next(iter(found.values())).group, tuple(found.values())) for found in groups.values())

    @cached_property
    def examinees(self) -> tuple[Examinee, ...]:
        """Unique models under trust checks."""
        return tuple({one.key: one for cell in self.cells for one in cell.examinees}.values())

    @cached_property
    def pictures(self) -> tuple[PictureGroup, ...]:
        """Craft groups of each cell's first seed, for the report; none where the only eps is 0."""
        first: dict[Cell, PlannedCell] = {}
        for planned in sorted(self.cells, key=lambda planned: planned.cell.seed):
            first.setdefault(replace(planned.cell, seed=0), planned)
        groups: dict[str, dict[str, Judgment]] = {}
        for planned in self.cells:
            if first[replace(planned.cell, seed=0)] is planned and any(planned.judgment.group.eps):
                groups.setdefault(planned.judgment.group.key, {})[planned.judgment.key] = planned.judgment
        return tuple(PictureGroup(tuple(found.values())) for found in groups.values())

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
        ConfigError: A strategy needs a common domain and none is left for a pair, a checkpoint does not fit, or two
            pairs would have one name in tables.
        DataError: A domain cannot be read, or has too few images.
    """
    axes = bench.axes
    cells: list[PlannedCell] = []
    for pair in (_Pair.of(spec, bench) for spec in axes.pair):
        shares = [replace(pair.target, share=share) for share in axes.target_images]
        targets = {len(target.images("train")): target for target in shares}  # a share and a number may be the same
        for network, (strategy, common), (count, target) in product(
            pair.networks(bench), _starts(bench, pair), targets.items()
        ):
            c = pair.root(common, bench, network) if common else None
            settings = dict(strategy.settings)
            forests = {
                seed: Forest(network, bench.recipe_of, seed, settings, bench.weight_options) for seed in axes.seed
            }
            for attack, view, seed in product(axes.attack, axes.view, axes.seed):
                a, b = STRATEGIES[strategy.name].lineage(forests[seed], pair.source, target, c)
                if isinstance(b, Public):
                    raise ConfigError(f"strategy {strategy.name!r} makes no victim: B would be {b.title} itself.")
                cell = Cell(
                    bench=bench.name,
                    source=pair.source.title if isinstance(pair.source, Public) else pair.source.domain,
                    target=target.domain,
                    network=str(network),
                    strategy=str(strategy),
                    common=common,
                    defense="none",
                    attack=attack.label,
                    norm=attack.build().norm,
                    view=view,
                    seed=seed,
                    target_images=count,
                )
                white = _judgment(b, b, attack, bench.fast) if "white" in axes.view else None
                judged = _judgment(a if view == "black" else b, b, attack, bench.fast)
                cells.append(PlannedCell(cell, a, b, judged, white))
    plan = Plan(_unique(cells))
    for data in plan.sides:
        check_classes(data)  # says before anything runs that a set has one class alone
    trained = [model for model in plan.trainings if isinstance(model, Training) and model.recipe.select != "test"]
    for data, share in {(training.data, training.recipe.val_share) for training in trained}:
        split_validation(data.images("train"), share)  # says before anything runs that a set is too small
    return plan


def _unique(cells: list[PlannedCell]) -> tuple[PlannedCell, ...]:
    """Each cell once: a registered pair may be ``source-target`` under another name."""
    found: dict[Cell, PlannedCell] = {}
    for planned in cells:
        if found.setdefault(planned.cell, planned).key != planned.key:
            raise ConfigError(
                f"axes.pair has two pairs of the same domains, and table.csv could not tell them apart "
                f"({planned.cell}): use a bench for each."
            )
    return tuple(found.values())


def _judgment(surrogate: Model, victim: Training, attack: AttackSpec, fast: tuple[str, ...]) -> Judgment:
    white = surrogate.key == victim.key
    group = CraftGroup(surrogate, victim.data, attack.component, attack.eps, victim.seed, white, fast)
    return Judgment(group, victim)


@dataclass(frozen=True)
class _Pair:
    """A pair of a bench: data, or a checkpoint and data."""

    name: str
    source: DomainInSpace | Public
    target: DomainInSpace
    others: Callable[[str], DomainInSpace]

    @classmethod
    def of(cls, spec: PairSpec, bench: Bench) -> _Pair:
        name, space = spec.name, spec.space
        if not name.startswith(CHECKPOINT):
            pair = get_pair(name, space, bench.data)(bench.data)
            return cls(name, pair.side("source"), pair.side("target"), pair.in_space)
        known = [f"{CHECKPOINT}{item}" for item in bench.checkpoints]
        start, target = split_pair(name, [*known, *DOMAINS.names(), *(item.name for item in bench.data.domains)])
        checkpoint = _checkpoint(start, bench)
        own = get_domain(target, bench.data).class_names(bench.data.folder, bench.data.download)
        classes = get_space(space).pair_classes(checkpoint.classes, own)

        def in_space(domain: str) -> DomainInSpace:
            return DomainInSpace(domain, space, bench.data, classes)

        return cls(name, Public(checkpoint, space), in_space(target), in_space)

    def networks(self, bench: Bench) -> tuple[Component, ...]:
        """The bench's networks; a checkpoint brings its own."""
        return (self.source.network,) if isinstance(self.source, Public) else bench.axes.network

    def root(self, common: str, bench: Bench, network: Component) -> DomainInSpace | Public:
        """The common domain or checkpoint."""
        if not common.startswith(CHECKPOINT):
            return self.others(common)
        checkpoint = _checkpoint(common, bench)
        if checkpoint.network != network:
            raise ConfigError(
                f"{common} under axes.common has the network {checkpoint.network}, but {self.name} is trained with "
                f"{network}: put {checkpoint.network} alone under axes.network."
            )
        return Public(checkpoint, self.target.space)


def _checkpoint(name: str, bench: Bench) -> Checkpoint:
    short = name.removeprefix(CHECKPOINT)
    if short not in bench.checkpoints:
        raise UnknownNameError("checkpoint (declare it under checkpoints:)", short, bench.checkpoints)
    return bench.checkpoints[short]


def _starts(bench: Bench, pair: _Pair) -> list[tuple[Component, str]]:
    """Strategies with each common domain that is neither source nor target; an empty name where there is none."""
    taken = {pair.target.domain, pair.source.title if isinstance(pair.source, Public) else pair.source.domain}
    found: list[tuple[Component, str]] = []
    for strategy in bench.axes.strategy:
        if not STRATEGIES[strategy.name].needs_common:
            found.append((strategy, ""))
            continue
        commons = [name for name in bench.axes.common if name not in taken]
        if not commons:
            raise ConfigError(
                f"strategy {strategy.name!r} needs a common domain besides those of {pair.name}: axes.common has "
                f"[{', '.join(bench.axes.common)}]; add one of {', '.join(sorted(set(DOMAINS.names()) - taken))}."
            )
        found.extend((strategy, name) for name in commons)
    return found
