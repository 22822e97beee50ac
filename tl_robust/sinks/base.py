"""What a sink is: one file that shows the results of a bench somewhere, as a file or on a server.

A sink is a function of :class:`Views`, registered under the name of its file::

    @sink(after=("tables",), files=("table.tex",))
    def latex(views):
        ...
        yield f"LaTeX: {path}"

It stands in ``tl_robust/sinks/named/`` or in a plugin folder of the bench; ``tl-robust run`` and ``report`` call all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from tl_robust.claims.effects import Finding
from tl_robust.errors import ConfigError, TLRobustError
from tl_robust.registry import Registry
from tl_robust.results.card import Card, cards
from tl_robust.results.faces import FACES
from tl_robust.results.leaderboard import Board
from tl_robust.results.table import Row
from tl_robust.types import Face, Pictures, Result


@dataclass(frozen=True)
class Views:
    """All that is known of a bench when its work is done, made once for all sinks.

    Attributes:
        folder: Where files go: the bench's folder of results.
        bench: Its name.
        results: The single cells.
        summary: Means over seeds with intervals, as :func:`tl_robust.results.table.summary` gives them.
        rows: Every number of every cell, as ``table.csv`` has them.
        findings: What was found of the claims.
        failures: What failed: ``node``, ``cause`` and ``trace`` of each.
        pictures: Images by key of an outcome, as :class:`tl_robust.bench.runner.Finished` has them.
        seconds: What the computing took, by kind of the store's entries.
        notes: What a reader must know of the data, a sentence each.
        when: Date of the run, as it reads.
        text: The whole configuration as YAML.
        settings: The same as plain values.
        weights: Files of the trained models by their titles.
        faces: How each threat reads.
        program: Commit and version of this program: another one may make other pages of the same results.
        board: Leaderboard files that were merged; None of a bench.
        publish: The bench has just run: its results may leave this machine, and files that are there already and made
            of the same results need not be made again.
    """

    folder: Path
    bench: str
    results: Sequence[Result[Any]]
    summary: Sequence[Row]
    rows: Sequence[Row] = ()
    findings: Sequence[Finding] = ()
    failures: Sequence[Mapping[str, str]] = ()
    pictures: Mapping[str, Pictures] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    notes: Sequence[str] = ()
    when: str = ""
    text: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    weights: Mapping[str, Path] = field(default_factory=dict)
    faces: Mapping[str, Face] = field(default_factory=lambda: FACES)
    program: str = ""
    board: Board | None = None
    publish: bool = False

    @cached_property
    def cards(self) -> tuple[Card, ...]:
        """The defense cards of the results; none where nothing is defended."""
        return cards(self.results)


class Problem(str):
    """A sentence of a sink about what it could not show; the terminal prints it as a warning."""


@dataclass(frozen=True)
class Sink:
    """A registered sink.

    Attributes:
        write: Shows the results; gives sentences for the terminal: where its files are, and each :class:`Problem`.
        after: Names of the sinks whose files it reads.
        files: What it writes into the folder of the bench: moved away together before a report of other settings.
    """

    write: Callable[[Views], Iterable[str]]
    after: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


SINKS: Registry[Sink] = Registry("sink", "tl_robust.sinks.named")


def sink(
    *, after: tuple[str, ...] = (), files: tuple[str, ...] = ()
) -> Callable[[Callable[[Views], Iterable[str]]], Sink]:
    """Register a function as a sink; a decorator. See :class:`Sink`."""

    def register(write: Callable[[Views], Iterable[str]]) -> Sink:
        return SINKS.register(Sink(write, after, files), write.__module__)

    return register


def in_order() -> list[str]:
    """Names of all sinks, each behind those whose files it reads.

    Raises:
        ConfigError: Two wait for each other, or one waits for a sink that does not exist.
    """
    graph = TopologicalSorter({name: SINKS[name].after for name in SINKS.names()})
    try:
        names = list(graph.static_order())
    except CycleError as error:
        raise ConfigError(f"these sinks wait for each other: {', '.join(error.args[1])}.") from error
    return [name for name in names if SINKS[name]]


def files() -> list[str]:
    """Names of the files that the sinks write into the folder of a bench."""
    return [file for name in in_order() for file in SINKS[name].files]


def sentences_of_sinks(views: Views, broken: list[str]) -> Iterator[str]:
    """Call every sink and give what they say. One that breaks takes no other with it.

    Args:
        views: What they show.
        broken: The names of those that broke are added to this list.
    """
    for name in in_order():
        try:
            yield from SINKS[name].write(views)
        except TLRobustError:  # a sentence for the user, who has to act: a full disk, a wrong setting
            raise
        except Exception as error:  # noqa: BLE001 - a view must not take the others with it; the user is told
            broken.append(name)
            yield Problem(f"sink {name} failed ({type(error).__name__}: {error}).")
