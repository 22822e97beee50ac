"""What a bench needs: its cells, and the unique nodes under them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import product

from tl_robust.bench.spec import Bench, PairSpec
from tl_robust.data.domain import DOMAINS, get_domain
from tl_robust.data.mapped import DomainInSpace, check_classes
from tl_robust.data.pair import get_pair, split_pair
from tl_robust.data.space import get_space
from tl_robust.defenses import Defense
from tl_robust.defenses.base import INFERENCE, TRAINING
from tl_robust.errors import ConfigError, UnknownNameError
from tl_robust.nodes.forest import Forest
from tl_robust.nodes.guarded import Guarded
from tl_robust.nodes.joining import check_joining
from tl_robust.nodes.models import Checkpoint, Model, Public
from tl_robust.nodes.node import Node
from tl_robust.nodes.store import Store
from tl_robust.nodes.training import Training
from tl_robust.registry import Component
from tl_robust.strategies import STRATEGIES
from tl_robust.threats.base import THREATS, PlannedCell, Scene
from tl_robust.types import Cell

CHECKPOINT = "checkpoint:"


@dataclass(frozen=True)
class Plan:
    """Cells in the order of the tables, and the nodes under them."""

    cells: tuple[PlannedCell, ...]

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        """Unique nodes, each after those that it needs; checkpoints first, so that a wrong one is told at once."""
        unique: dict[str, Node] = {}
        made = [cell.play.models or (cell.scene.surrogate, cell.scene.victim) for cell in self.cells]
        models = [node for several in made for model in several for node in model.nodes]
        timings = [cell.timing for cell in self.cells if cell.timing]
        for node in (*models, *(node for cell in self.cells for node in cell.play.nodes), *timings):
            before = unique.get(node.key)
            unique[node.key] = before.joined(node) if before else node
        kinds = list(dict.fromkeys(node.KIND for node in unique.values()))

        def rank(node: Node) -> tuple[bool, bool, int]:
            return node.KIND.leaf, not isinstance(node, Public), kinds.index(node.KIND)

        return tuple(sorted(unique.values(), key=rank))

    @cached_property
    def trainings(self) -> tuple[Model, ...]:
        """Unique checkpoints and trainings, parents first."""
        return tuple(node for node in self.nodes if isinstance(node, Model))

    @cached_property
    def sides(self) -> tuple[DomainInSpace, ...]:
        """The domains in their spaces that are trained and tested on, without the shares of labeled images."""
        used = [model.data for model in self.trainings if isinstance(model, Training)]
        return tuple(dict.fromkeys(data.whole for data in used))

    @cached_property
    def works(self) -> dict[str, int]:
        """How many nodes there are of each kind, by the title of the kind."""
        return dict(Counter(node.KIND.title for node in self.nodes))

    def counts(self, store: Store) -> dict[str, int]:
        """Numbers of cells, of those whose records are all in the store, and of unique trainings."""
        present = [[store.has(address.kind, address.key) for address in cell.play.addresses] for cell in self.cells]
        return {"cells": len(self.cells), "trainings": len(self.trainings), "done": sum(map(all, present))}


def make_plan(bench: Bench) -> Plan:
    """Expand the axes of a bench.

    Raises:
        ConfigError: A strategy needs a common domain and none is left for a pair, a checkpoint does not fit, two pairs
            would have one name in tables, or a defense cannot join in a training.
        DataError: A domain cannot be read, or has too few images.
    """
    for method in bench.axes.attack:
        if not method.view and set(views := THREATS[method.threat].face.views).isdisjoint(bench.axes.view):
            raise ConfigError(f"attack {method.label} has no view of axes.view: add one of {', '.join(views)}.")
    plan = Plan(_unique([cell for spec in bench.axes.pair for cell in _cells(_Pair.of(spec, bench), bench)]))
    played = {planned.method for planned in plan.cells}
    for method in bench.axes.attack:
        if method not in played:
            raise ConfigError(THREATS[method.threat].idle(method))
    for data in plan.sides:
        check_classes(data)  # says before anything runs that a set has one class alone
    trained = [model for model in plan.trainings if isinstance(model, Training) and model.recipe.select != "test"]
    for data, share in {(training.data, training.recipe.val_share) for training in trained}:
        data.parts(share)  # says before anything runs that a set is too small
    for model in plan.trainings:
        if isinstance(model, Training):
            check_joining(model)
    return plan


def _cells(pair: _Pair, bench: Bench) -> Iterator[PlannedCell]:
    axes, source = bench.axes, pair.source
    shares = [replace(pair.target, share=share) for share in axes.target_images]
    targets = {len(target.images("train")): target for target in shares}  # 0.5 and 100 may be the same images
    suited = [(str(each or "none"), each and each.suited(_sizes(bench), pair.space)) for each in axes.defense]
    for network, (strategy, common), (count, target), (written, defense) in product(
        pair.networks(bench), _starts(bench, pair), targets.items(), suited
    ):
        c = pair.root(common, bench, network) if common else None
        forest = Forest(
            network, bench.recipe_of, 0, strategy, bench.weight_options, checkpoint=partial(pair.published, bench)
        )
        lineages = {seed: _lineage(replace(forest, seed=seed), source, target, c, defense) for seed in axes.seed}
        played = [(method, view) for method in axes.attack for view in ([method.view] if method.view else axes.view)]
        for (method, view), seed in product(played, axes.seed):
            if view not in THREATS[method.threat].face.views:
                continue  # the view belongs to another threat of the bench
            a, b, plain = lineages[seed]
            cell = Cell(
                bench=bench.name,
                source=source.title if isinstance(source, Public) else source.domain,
                target=target.domain,
                network=str(network),
                strategy=str(strategy),
                common=common,
                defense=written,
                attack=method.label,
                norm=method.norm,
                view=view,
                seed=seed,
                target_images=count,
                threat=method.threat,
            )
            first, undefended = seed == min(axes.seed), plain if defense else None
            scene = Scene(a, b, target, seed, view, axes.view, defense, bench.fast, first, undefended)
            if play := THREATS[method.threat].play(method, scene):
                yield PlannedCell(cell, method, scene, play)


def _lineage(
    forest: Forest,
    source: DomainInSpace | Public,
    target: DomainInSpace,
    c: DomainInSpace | Public | None,
    defense: Defense | None,
) -> tuple[Model, Model, Model]:
    """A and B, with what the defense makes of them, and B without it.

    Raises:
        ConfigError: The defense changes nothing here, or B cannot be judged on the target.
    """
    strategy = STRATEGIES[forest.own.name]
    a, b = plain = strategy.lineage(forest, source, target, c)
    if defense:
        origin = source.domain if isinstance(source, DomainInSpace) else ""
        roles = {"origin": origin, "victim": target.domain}
        defenses = {
            domain: tuple(part.component for part in defense.parts if role == part.role and _joins(part))
            for role, domain in roles.items()
        }
        forest = replace(forest, defenses=defenses)
        lineage = defense.lineage(forest, *strategy.lineage(forest, source, target, c))
        a, b = lineage.public, lineage.victim
        if any(part.FEATURES for part in defense.parts):
            b.check_features()
        if guards := tuple(part.component for part in defense.parts if part.acts & set(INFERENCE)):
            b = Guarded(b, guards, target, forest.recipe(target.domain).val_share)
        if (a.key, b.key) == tuple(model.key for model in plain):
            raise ConfigError(
                f"defense {str(defense)!r} changes nothing with strategy {str(forest.own)!r}: leave one of them out."
            )
    if b.labels != target.labels:
        raise ConfigError(
            f"strategy {str(forest.own)!r} makes {b} the victim, which knows other classes than {target.domain}: "
            "give the checkpoint the target's classes, or take a strategy that trains on the target."
        )
    return a, b, plain[1]


def _sizes(bench: Bench) -> list[float]:
    """All eps above 0 of attacks in the norm ``linf``, ascending."""
    methods = [each for each in bench.axes.attack if each.norm == "linf" and THREATS[each.threat].face.axis == "eps"]
    return sorted({eps for each in methods for eps in each.x if eps > 0})


def _joins(defense: Defense) -> bool:
    """Whether a defense joins in the trainings of a strategy."""
    return bool(defense.acts & (set(TRAINING) - {"lineage"})) and not defense.REPAIRS


def _unique(cells: list[PlannedCell]) -> tuple[PlannedCell, ...]:
    """Each cell once: a registered pair may be ``source-target`` under another name."""
    unique: dict[Cell, PlannedCell] = {}
    for planned in cells:
        if unique.setdefault(planned.cell, planned).key != planned.key:
            raise ConfigError(
                f"axes.pair has two pairs of the same domains, and table.csv could not tell them apart "
                f"({planned.cell}): use a bench for each."
            )
    return tuple(unique.values())


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

    @property
    def space(self) -> str:
        """Name of the space of its images."""
        return self.target.space.name

    def networks(self, bench: Bench) -> tuple[Component, ...]:
        """The bench's networks; a checkpoint brings its own."""
        return (self.source.network,) if isinstance(self.source, Public) else bench.axes.network

    def published(self, bench: Bench, name: str) -> Public:
        """A checkpoint of the bench, given the images of this pair."""
        return Public(_checkpoint(name, bench), self.target.space)

    def root(self, common: str, bench: Bench, network: Component) -> DomainInSpace | Public:
        """The third model's training data, or the public checkpoint that stands for the third model."""
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
    starts: list[tuple[Component, str]] = []
    for strategy in bench.axes.strategy:
        if not STRATEGIES[strategy.name].needs_common:
            starts.append((strategy, ""))
            continue
        commons = [name for name in bench.axes.common if name not in taken]
        if not commons:
            raise ConfigError(
                f"strategy {strategy.name!r} needs a common domain besides those of {pair.name}: axes.common has "
                f"[{', '.join(bench.axes.common)}]; add one of {', '.join(sorted(set(DOMAINS.names()) - taken))}."
            )
        starts.extend((strategy, name) for name in commons)
    return starts
