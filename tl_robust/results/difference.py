"""What moved between two benches: settings, versions, and every number that both have, beyond noise or not.

Numbers are matched by coordinates; names of benches and seeds are none. Where both sides have the outcomes of the same
samples and seeds, a difference is taken sample by sample and seed by seed; else from the intervals of the two tables.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from rich.table import Table
from scipy.stats import t as student

from tl_robust.metrics import METRICS, Metric
from tl_robust.metrics.estimate import TAIL, Estimate, estimate, holm, square_and_add
from tl_robust.metrics.metric import Seed
from tl_robust.results.earlier import among, flat
from tl_robust.results.faces import face_of
from tl_robust.results.means import mean_rows
from tl_robust.results.names import Names, grouped, method, number, unit
from tl_robust.results.table import Row, summary
from tl_robust.types import Cell, Result

LEVEL = 0.05
UNMOVING = ("name", "profile", "results", "engine", "workers", "wandb", "data.cache")  # settings that move no number
SAMPLES = ("sample_id", "label", "origin_label", "member")  # fields of records: which samples, and who learned them
Point = tuple[Cell, str, str]  # coordinates, metric, eps


@dataclass(frozen=True)
class Side:
    """One of the two benches that are compared.

    Attributes:
        name: As the user named it.
        summary: Rows of the means over seeds.
        seeds: Seeds by coordinates.
        results: Cells with outcomes; empty where only tables are known.
        settings: Its configuration; None where it is not known.
        made: Versions, devices and commits; None where they are not known.
        note: Why it has no outcomes.
    """

    name: str
    summary: Sequence[Row]
    seeds: Mapping[Cell, Sequence[int]]
    results: Sequence[Result[Any]] = ()
    settings: Mapping[str, Any] | None = None
    made: Mapping[str, str] | None = None
    note: str = ""

    @classmethod
    def of_results(cls, name: str, results: Sequence[Result[Any]], settings: Mapping[str, Any] | None = None) -> Side:
        """A side of which the outcome of every sample is known."""
        return cls(
            name,
            summary(results),
            _seeds(result.cell for result in results),
            results,
            settings,
            made([result.provenance for result in results]),
        )

    @classmethod
    def of_rows(cls, name: str, rows: Sequence[Row], means: Sequence[Row] = (), note: str = "") -> Side:
        """A side of which only tables are known: rows of cells, and perhaps of their means."""
        return cls(name, means or mean_rows(rows), _seeds(row.cell for row in rows), note=note)

    @cached_property
    def by_coordinates(self) -> dict[Cell, list[Result[Any]]]:
        """Results by coordinates, seeds ascending."""
        ordered = sorted(self.results, key=lambda result: result.cell.seed)
        return grouped(ordered, lambda result: _coordinates(result.cell))

    @cached_property
    def rows(self) -> dict[Point, Row]:
        """Summary rows by coordinates, metric and eps; metrics that are not registered here are left out."""
        return {
            (_coordinates(row.cell), row.metric, _size(row.eps)): row for row in self.summary if row.metric in METRICS
        }

    @cached_property
    def grids(self) -> dict[Cell, set[str]]:
        """The values of the axis that each cell has, by coordinates."""
        return {
            cell: {eps for _, _, eps in points} for cell, points in grouped(self.rows, lambda point: point[0]).items()
        }


def _size(eps: float | None) -> str:
    """An eps to the precision of tables; empty for a whole curve."""
    return "" if eps is None else f"{eps:.6g}"


def _coordinates(cell: Cell) -> Cell:
    return replace(cell, bench="", seed=-1)


def _seeds(cells: Iterable[Cell]) -> dict[Cell, list[int]]:
    return {cell: sorted({other.seed for other in seeds}) for cell, seeds in grouped(cells, _coordinates).items()}


def made(provenances: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Versions, devices and commits that cells were made with."""
    values: dict[str, set[str]] = {}
    for item in provenances:
        for name, value in flat({name: item[name] for name in ("versions", "device", "commit") if name in item}):
            values.setdefault(name, set()).add(str(value))
    return {name: ", ".join(sorted(several)) for name, several in values.items()}


@dataclass(frozen=True)
class Number:
    """A number that both sides have.

    Attributes:
        first: Mean over seeds of the first side.
        second: Of the second.
        change: Second minus first; NaN where one is undefined.
        low: Lower end of its 95 % interval; NaN where the sides show no spread to tell it from.
        high: Upper end.
        p: Two-sided p-value, after Holm's correction over all compared numbers; NaN where it cannot be told.
        paired: On the same samples and seeds.
    """

    first: Row
    second: Row
    change: float
    low: float
    high: float
    p: float
    paired: bool

    @property
    def moved(self) -> bool:
        """Whether the change is larger than noise explains, at 5 % over all compared numbers."""
        return self.p < LEVEL

    @property
    def alone(self) -> bool:
        """Whether its own interval excludes 0, which some of many do by chance."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Comparison:
    """What differs between two sides.

    Attributes:
        first: One side.
        second: The other.
        settings: Settings and versions that differ: name, first, second.
        numbers: What both have, in the order of the first side.
        only: Cells (without seeds) that only one side has, how many.
    """

    first: Side
    second: Side
    settings: Sequence[tuple[str, str, str]]
    numbers: Sequence[Number]
    only: tuple[int, int]

    @cached_property
    def ranked(self) -> list[Number]:
        """What moved first, then by size, undefined last."""

        def order(both: Number) -> tuple[bool, float]:
            return not both.moved, 1 if math.isnan(both.change) else -abs(both.change)

        return sorted(self.numbers, key=order)


def contrast(metric: Metric, first: Sequence[Seed], second: Sequence[Seed], eps: Sequence[str]) -> Estimate:
    """Second minus first on the same samples and seeds.

    Args:
        metric: What is compared.
        first: A record and what is beside it, a seed.
        second: The same seeds and samples.
        eps: Sizes that both have to six digits, K; ``[""]`` for a metric of a whole curve.
    """
    draws = []
    for side in (first, second):
        grid = [""] if metric.summary else [_size(size) for size in side[0][0].x.tolist()]
        draws.append(metric.draws(side).at(torch.tensor([grid.index(size) for size in eps])))
    return estimate(draws[1] - draws[0])


def compare(first: Side, second: Side, metrics: Sequence[str] = ()) -> Comparison:
    """Match the numbers of two sides, and tell which moved.

    Args:
        first: One side.
        second: The other.
        metrics: Registered names; all where there are none.
    """
    shared = [
        point
        for point in first.rows
        if point in second.rows
        and (not metrics or point[1] in metrics)
        and (point[2] or first.grids[point[0]] == second.grids[point[0]])  # a whole curve needs the same grid
    ]
    numbers: list[Number] = []
    for (cell, metric), points in grouped(shared, lambda point: point[:2]).items():
        rows = [(first.rows[point], second.rows[point]) for point in points]
        ours, theirs = first.by_coordinates.get(cell, []), second.by_coordinates.get(cell, [])
        if _same_samples(ours, theirs):
            seeds = [[(result.outcome, result.beside) for result in side] for side in (ours, theirs)]
            numbers += _paired(rows, contrast(METRICS[metric], seeds[0], seeds[1], [eps for _, _, eps in points]))
        else:
            freedom = sum(len(side.seeds.get(cell, [0])) - 1 for side in (first, second))
            numbers += [_independent(*pair, freedom or math.inf) for pair in rows]
    known = [both for both in numbers if not math.isnan(both.p)]
    corrected = iter(holm([both.p for both in known]))
    numbers = [replace(both, p=next(corrected)) if not math.isnan(both.p) else both for both in numbers]
    cells = [{point[0] for point in side.rows} for side in (first, second)]
    only = len(cells[0] - cells[1]), len(cells[1] - cells[0])
    return Comparison(first, second, list(_settings(first, second)), numbers, only)


def _same_samples(first: Sequence[Result[Any]], second: Sequence[Result[Any]]) -> bool:
    def alike(before: Result[Any], after: Result[Any]) -> bool:
        ours, theirs = before.outcome.tensors(), after.outcome.tensors()
        return (
            type(before.outcome) is type(after.outcome)
            and before.cell.seed == after.cell.seed
            and all(torch.equal(ours[name], theirs[name]) for name in SAMPLES if name in ours)
        )

    return 0 < len(first) == len(second) and all(map(alike, first, second))


def _paired(rows: Sequence[tuple[Row, Row]], changes: Estimate) -> Iterator[Number]:
    p_values = 2 * torch.minimum(changes.above(), (-changes).above())
    low, high = changes.interval()
    for index, (first, second) in enumerate(rows):
        change, *rest, error = (float(values[index]) for values in (changes.value, low, high, p_values, changes.error))
        low_end, high_end, p = rest if error > 0 else [math.nan] * 3
        yield Number(first, second, change, low_end, high_end, p, paired=True)


def _independent(first: Row, second: Row, freedom: float) -> Number:
    """Tell a difference from the intervals of its two numbers alone: see :func:`square_and_add`.

    The p-value is that of the t distribution whose 95 % interval this is.
    """
    change, low, high = square_and_add(first, second)
    reach = change - low if change > 0 else high - change
    if not reach > 0:
        p = low = high = math.nan
    else:
        p = float(2 * student.sf(abs(change) / reach * student.isf(TAIL, freedom), freedom))
    return Number(first, second, change, low, high, p, paired=False)


def _settings(first: Side, second: Side) -> Iterator[tuple[str, str, str]]:
    for ours, theirs in ((first.settings, second.settings), (first.made, second.made)):
        if ours is None or theirs is None:
            continue
        before, after = dict(flat(ours)), dict(flat(theirs))
        for name in sorted(before.keys() | after.keys()):
            values = str(before.get(name, "-")), str(after.get(name, "-"))
            if values[0] != values[1] and not among(name, UNMOVING):
                yield (name, *values)


def tables(comparison: Comparison, numbers: Sequence[Number]) -> Iterator[Table]:
    """Two tables: settings that differ, and some numbers.

    Args:
        comparison: What differs.
        numbers: Those to show, in this order.
    """
    long = comparison.first.name, comparison.second.name
    short = Path(long[0]).name, Path(long[1]).name
    sides = short if short[0] != short[1] else long
    table = Table("setting", *sides, title="Settings", title_justify="left", box=None, pad_edge=False)
    for line in comparison.settings:
        table.add_row(*line)
    yield table
    names = Names.of(both.first.cell for both in comparison.numbers)
    pairs = list(dict.fromkeys(names.pair(both.first.cell) for both in comparison.numbers))
    metrics = {both.first.metric for both in comparison.numbers}
    what = "Accuracy under attack in %" if metrics == {"robust_accuracy"} else "Numbers, shares in %"
    axes = sorted({both.first.axis for both in comparison.numbers}) or ["eps"]
    title = f"{what}, change with its 95 % interval" + "; eps in pixels" * (axes == ["eps"])
    title = "\n".join([*pairs, title] if len(pairs) == 1 else [title])
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for head in ("attack" if len(pairs) == 1 else "pair, attack", "view", "strategy", *["metric"] * (len(metrics) > 1)):
        table.add_column(head, overflow="fold")
    for head in (" or ".join(axes), *sides, "change", "interval", "beyond noise"):
        table.add_column(head, justify="right", no_wrap=True)
    for both in numbers:
        cell, kind = both.first.cell, unit(both.first.metric)
        attack = method(cell) if len(pairs) == 1 else names.group(cell)
        where = [attack, cell.view, names.strategy(cell), *[both.first.metric] * (len(metrics) > 1), _place(both.first)]
        known = not math.isnan(both.p)
        ends = f"[{signed(both.low, kind)}, {signed(both.high, kind)}]" if known else "n/a"
        beyond = ("yes" if both.moved else "no") if known else "n/a"
        values = number(both.first.value, kind), number(both.second.value, kind), signed(both.change, kind)
        table.add_row(*where, *values, ends, beyond)
    yield table


def _place(row: Row) -> str:
    return "-" if row.eps is None else face_of(row.cell).axis_text(row.eps)


def signed(value: float, unit: str) -> str:
    """A change as it reads, with its sign; see :func:`tl_robust.results.names.number`."""
    text = number(value, unit)
    return f"+{text}" if value > 0 else text
