"""What a threat is: its methods, the record of what happened to every sample, and how a cell of it is computed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar, TypeVar

from tl_robust.data.mapped import DomainInSpace
from tl_robust.defenses import Defense
from tl_robust.errors import UnknownNameError
from tl_robust.nodes.kind import Address
from tl_robust.nodes.models import Model
from tl_robust.nodes.node import Node
from tl_robust.nodes.store import Store
from tl_robust.nodes.timing import Timing, answers_otherwise
from tl_robust.registry import Component, Registry, plugin_hint
from tl_robust.seeding import digest
from tl_robust.trust import judge
from tl_robust.types import Cell, Evidence, Face, Record, Verdict


@dataclass(frozen=True)
class Method:
    """How an attacker goes about a threat: an attack, a trigger, an inference method.

    Attributes:
        threat: Name of the threat.
        component: Registered name and settings.
        x: Values of the threat's axis, ascending: for evasion the eps, in [0,1] pixel units; empty where the threat
            finds them when a cell is played.
        norm: Norm of what is added to an image; empty where the threat has none.
        view: The view that it is played in, whatever views the bench has; empty where the bench's views count.
    """

    threat: str
    component: Component
    x: tuple[float, ...]
    norm: str = ""
    view: str = ""

    @property
    def label(self) -> str:
        """Name and settings without norm and view, which have columns of their own, as tables show it."""
        shown = {"norm", *["into", "side"] * bool(self.view)}
        settings = tuple(item for item in self.component.settings if item[0] not in shown)
        return str(replace(self.component, settings=settings))


@dataclass(frozen=True)
class Scene:
    """The models, data and defense of one cell, on which a threat is played.

    Attributes:
        surrogate: A, which is public.
        victim: B.
        test: The target domain; its test split is what B is judged on.
        seed: Seed of the attacker's random draws.
        view: What the attacker knows, a name of the threat's views.
        views: All views of the bench.
        defense: What protects the models; None where nothing does.
        undefended: B without the defense; None where there is none.
        fast: Fast modes that are tried.
        pictured: Pictures of this cell are shown.
    """

    surrogate: Model
    victim: Model
    test: DomainInSpace
    seed: int
    view: str
    views: tuple[str, ...]
    defense: Defense | None = None
    fast: tuple[str, ...] = ()
    pictured: bool = False
    undefended: Model | None = None


@dataclass(frozen=True)
class Play:
    """What a cell is computed by and read from.

    Attributes:
        nodes: What must be computed, beside the models.
        outcome: Addresses of the cell's record; of several, the worst case of every sample counts.
        surrogate: The model that the attacker worked on.
        beside: Addresses of the records that metrics compare it with, by name; of several, again the worst case.
        victim: The model that was judged; None where it is the scene's.
        models: The models that are made; those of the scene where there are none.
    """

    nodes: tuple[Node, ...]
    outcome: tuple[Address, ...]
    surrogate: Model
    beside: Mapping[str, tuple[Address, ...]] = field(default_factory=dict)
    victim: Model | None = None
    models: tuple[Model, ...] = ()

    @property
    def protocol(self) -> Any:
        """All that makes the numbers, but for models and seeds, in the form of JSON."""
        return None

    @property
    def key(self) -> str:
        """Key of the record; of several, the digest of their keys."""
        return _key(self.outcome)

    @property
    def beside_keys(self) -> dict[str, str]:
        """Keys of the records that metrics compare it with, by name."""
        return {name: _key(addresses) for name, addresses in self.beside.items()}

    @property
    def addresses(self) -> tuple[Address, ...]:
        """All that must be in the store for the cell to have a result."""
        return (*self.outcome, *(address for several in self.beside.values() for address in several))


def _key(addresses: Sequence[Address]) -> str:
    keys = [address.key for address in addresses]
    return keys[0] if len(keys) == 1 else digest(keys)


@dataclass(frozen=True)
class PlannedCell:
    """A cell and what it is computed by.

    Attributes:
        cell: Coordinates.
        method: How the attacker goes about it.
        scene: What it is played on.
        play: What it is computed by and read from.
    """

    cell: Cell
    method: Method
    scene: Scene
    play: Play

    @cached_property
    def key(self) -> str:
        """16 hex digits of the SHA-256 of coordinates and outcomes: the id of the cell's W&B run."""
        return self.cell.key(self.play.key, self.play.beside_keys)

    @property
    def victim(self) -> Model:
        """The model that was judged."""
        return self.play.victim or self.scene.victim

    @cached_property
    def timing(self) -> Timing | None:
        """What measures how long a defended B takes to answer; None where it is the network it was without."""
        scene, twin = self.scene, self.scene.undefended
        model = self.victim if self.play.models else scene.victim
        return Timing(model, twin, scene.test) if twin and answers_otherwise(model, twin) else None


@dataclass(frozen=True)
class Reading:
    """A cell whose records were read.

    Attributes:
        planned: The cell.
        outcome: What happened to every sample.
        beside: Records that it is compared with, by name.
    """

    planned: PlannedCell
    outcome: Any
    beside: Mapping[str, Any]


Verdicts = tuple[Verdict, Mapping[str, Verdict]]
"""Trust in a cell, and in those of its metrics that rest on another record."""


class Threat(ABC):
    """Base of all threats; :func:`threat` registers one a file.

    Attributes:
        METHODS: What ``axes.attack`` may hold for it.
        record: What is written down of every sample.
        face: How reports, tables and dashboards show it.
    """

    METHODS: ClassVar[Registry[Any]]
    record: type[Record]
    face: Face

    @abstractmethod
    def method(self, component: Component, x: tuple[float, ...]) -> Method:
        """The method of an entry of ``axes.attack``.

        Args:
            component: Name and settings, checked.
            x: Values of the axis: the entry's own, or the bench's.

        Raises:
            ConfigError: They do not fit each other.
        """

    @abstractmethod
    def play(self, method: Method, scene: Scene) -> Play | None:
        """What must be computed for a cell; None where there is nothing to ask, such as a parent that B has not.

        Raises:
            ConfigError: The scene has no such view.
        """

    def idle(self, method: Method) -> str:
        """What to do where no strategy of a bench gives a method anything to ask."""
        return f"attack {method.label} has nothing to ask of any strategy of axes.strategy."

    def gathered(self, play: Play, records: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
        """The record of a cell and those beside it.

        Args:
            play: What the cell is read from.
            records: All records by key.
        """
        first, *others = (
            self.worst([records[address.key] for address in addresses])
            for addresses in (play.outcome, *play.beside.values())
        )
        return first, dict(zip(play.beside, others, strict=True))

    def worst(self, records: Sequence[Any]) -> Any:
        """The worst case for B of every sample; here there is one record."""
        (record,) = records
        return record

    def verdicts(self, readings: Sequence[Reading], store: Store) -> list[Verdicts]:
        """Whether the numbers of these cells, all of a bench, are to be believed."""
        return [(judge(Evidence(reading.outcome, reading.beside)), {}) for reading in readings]


THREATS: Registry[Threat] = Registry("threat", "tl_robust.threats")
T = TypeVar("T", bound=Threat)


def threat(kind: type[T]) -> type[T]:
    """Register a threat under the name of its file; a decorator of its class, of which one object is enough."""
    THREATS.register(kind(), kind.__module__)
    return kind


def threat_of(method: str) -> str:
    """Name of the threat that has a method of this name.

    Raises:
        UnknownNameError: None has; the message shows the closest.
    """
    for name in THREATS.names():
        if method in THREATS[name].METHODS:
            return name
    known = [own for name in THREATS.names() for own in THREATS[name].METHODS.names()]
    raise UnknownNameError("attack", method, known, plugin_hint("attack"))
