"""How names, numbers and intervals read."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from tl_robust.metrics import METRICS
from tl_robust.results.table import Row
from tl_robust.types import Cell, Face

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)

MARKS = {"green": "✔ green", "amber": "▲ amber", "red": "✖ red"}
DECISIONS = {
    "supported": "✔ supported",
    "refuted": "✖ refuted",
    "undecided": "◇ undecided",
    "not judged": "○ not judged",
}
EFFECTS = {
    "helps": "✔ helps",
    "harms": "✖ harms",
    "undecided": "◇ undecided",
    "cannot tell": "○ cannot tell",
}
"""What a defense does beside the same B without it."""


def grouped(items: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    """Items by key, both in order of appearance."""
    groups: dict[K, list[T]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


@dataclass(frozen=True)
class Names:
    """What a reader calls the parts of a grid; networks, defenses, image counts are named where a pair has several.

    Attributes:
        networks: Say the network.
        defenses: Say the defense.
        images: Say how many target images B learned from.
        benches: Say the bench, where files of several were merged.
    """

    networks: bool
    defenses: bool
    images: bool
    benches: bool = False

    @classmethod
    def of(cls, cells: Iterable[Cell]) -> Names:
        """The names that tell these cells apart."""
        cells = list(cells)
        pairs = {(cell.source, cell.target, cell.network) for cell in cells}
        counts = {(cell.source, cell.target, cell.network, cell.target_images) for cell in cells}
        networks = len(pairs) > len({(cell.source, cell.target) for cell in cells})
        benches = len({cell.bench for cell in cells}) > 1
        return cls(networks, len({cell.defense for cell in cells}) > 1, len(counts) > len(pairs), benches)

    def pair(self, cell: Cell) -> str:
        """Source and target."""
        more = [cell.network] if self.networks else []
        more += [f"{cell.target_images} target images"] if self.images else []
        whose = f"{cell.bench}: " * self.benches
        return f"{whose}{cell.source} → {cell.target}" + (f" ({', '.join(more)})" if more else "")

    def group(self, cell: Cell) -> str:
        """The name of what shares one chart."""
        return f"{self.pair(cell)}, {method(cell)}"

    def target(self, cell: Cell) -> str:
        """What shares one matrix: the test set under an attack, whatever the source."""
        return self.group(cell).replace(f"{cell.source} → ", "", 1)

    def strategy(self, cell: Cell) -> str:
        """The name of one line of a chart."""
        common = f" ({cell.common})" if cell.common else ""
        return cell.strategy + common + (f", defense {cell.defense or 'none'}" if self.defenses else "")


def method(cell: Cell) -> str:
    """What the attacker does: the attack and its norm, where it has one."""
    return f"{cell.attack} {cell.norm}".rstrip()


def unit(metric: str) -> str:
    """The unit of a metric: ``share``, ``ratio``, ``eps``, ``epochs`` or ``images``."""
    return METRICS[metric].unit


@dataclass(frozen=True)
class _Reading:
    """How numbers of a unit read: so many digits behind the point, after scaling, with a word behind."""

    digits: int = 3
    scale: float = 1.0
    word: str = ""


READINGS = {
    "share": _Reading(1, 100, " %"),
    "eps": _Reading(4),
    "epochs": _Reading(1, word=" epochs"),
    "images": _Reading(0, word=" images"),
}


def number(value: float, unit: str) -> str:
    """A value as it reads without its unit: percent, a ratio, an eps, a count; ``n/a`` where undefined."""
    if math.isnan(value):
        return "n/a"
    reading = READINGS.get(unit, _Reading())
    return f"{round(reading.scale * value, reading.digits) + 0.0:.{reading.digits}f}"  # + 0.0: no "-0.0"


def measured(value: float, unit: str) -> str:
    """A value with its unit: ``58.3 %``, ``2.0 epochs``; ``n/a`` where undefined."""
    return number(value, unit) + READINGS.get(unit, _Reading()).word * (not math.isnan(value))


def interval(row: Row) -> str:
    """A value and its interval: ``58.3 % [55.1, 61.4]``."""
    kind = unit(row.metric)
    low, high = (number(end, kind) for end in (row.low, row.high))
    ends = "n/a" if low == high == "n/a" else f"{low}, {high}"
    return measured(row.value, kind) + f" [{ends}]" * (not math.isnan(row.value))


def grid(rows: Iterable[Row]) -> list[float]:
    """All values of the axis that some row has, rising."""
    return sorted({row.eps for row in rows if row.eps is not None})


def last_x(rows: Iterable[Row]) -> float | None:
    """The last value of the axis that all these curves have; where there is none, the last that one of them has."""
    grids = [set(grid(curve)) for curve in grouped(rows, lambda row: row.cell).values()]
    shared = set.intersection(*grids) if grids else set()
    return max(shared or set().union(*grids), default=None)


def telling_x(rows: Iterable[Row], face: Face) -> float | None:
    """Where on the axis the cells lose most unequally, in the first view of the face that is there.

    The larger of equals, and the baseline only where nothing else is defined; the last value where the face tells that.
    """
    defined = [row for row in rows if row.eps is not None and not math.isnan(row.value)]
    views = [view for view in face.views if any(row.cell.view == view for row in defined)]
    defined = [row for row in defined if row.cell.view in views[:1]] or defined
    if face.told == "last":
        return last_x(defined)
    clean = {row.cell: row.value for row in defined if row.eps == face.baseline}
    lost = grouped(((row.eps or 0.0, clean.get(row.cell, 1.0) - row.value) for row in defined), lambda item: item[0])
    spread = {x: max(losses)[1] - min(losses)[1] for x, losses in lost.items()}
    return max(spread, key=lambda x: (x != face.baseline, spread[x], x), default=None)
