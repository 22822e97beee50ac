"""``table.csv``, the public interface: one row per cell, eps and metric; ``summary.csv``: the mean over seeds."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from pathlib import Path
from typing import Any

from tl_robust.errors import ResultsError
from tl_robust.files import write_atomically
from tl_robust.metrics import METRICS
from tl_robust.text import plain
from tl_robust.trust.base import worst
from tl_robust.types import Cell, Curve, Result

SUMMARY_COLUMNS = (
    "bench", "source", "target", "network", "strategy", "common", "defense", "attack", "norm", "view",
    "eps", "metric", "value", "n", "low", "high", "trust", "target_images", "threat", "axis",
)  # fmt: skip
TEXTS = {*SUMMARY_COLUMNS[:10], "metric", "trust", "cell", "threat", "axis"}  # all other columns hold numbers
FORMULA = r"'*[=+\-@\t\r]"  # a text that begins with apostrophes itself must keep them
COLUMNS = (*SUMMARY_COLUMNS[:10], "seed", *SUMMARY_COLUMNS[10:-3], "cell", *SUMMARY_COLUMNS[-3:])


@dataclass(frozen=True)
class Row:
    """One number with its interval and where it belongs.

    Attributes:
        cell: Coordinates; in a summary the seed is -1.
        eps: Where on the axis, of evasion in [0,1] pixel units; None for a metric of a whole curve.
        metric: Registered name.
        value: In the metric's unit; NaN where undefined.
        n: Samples in the denominator, over all seeds in a summary.
        low: Lower end of the 95 % interval.
        high: Upper end.
        trust: ``green``, ``amber`` or ``red``.
        key: The cell's key; empty in a summary.
        axis: What ``eps`` holds: the :attr:`~tl_robust.types.Record.AXIS` of the cell's record.
    """

    cell: Cell
    eps: float | None
    metric: str
    value: float
    n: int
    low: float
    high: float
    trust: str
    key: str
    axis: str = "eps"


def curve_rows(cell: Cell, metric: str, curve: Curve, trust: str, key: str, axis: str) -> Iterator[Row]:
    """The rows of one metric of one cell."""
    eps: list[float | None] = list(curve.eps.tolist()) or [None]
    columns = (curve.value.tolist(), curve.n.tolist(), curve.low.tolist(), curve.high.tolist())
    for size, value, n, low, high in zip(eps, *columns, strict=True):
        yield Row(cell, size, metric, value, int(n), low, high, trust, key, axis)


def rows(result: Result[Any]) -> list[Row]:
    """All rows of one cell."""
    return [
        row
        for metric, curve in result.curves.items()
        for row in curve_rows(result.cell, metric, curve, result.trust(metric).level, result.key, result.outcome.AXIS)
    ]


def summary(results: Sequence[Result[Any]]) -> list[Row]:
    """Rows of the means over seeds, with intervals over seeds and samples, in the order of the cells."""
    groups: dict[Cell, list[Result[Any]]] = {}
    for result in results:
        groups.setdefault(replace(result.cell, seed=-1), []).append(result)
    means: list[Row] = []
    for cell, seeds in groups.items():
        for metric in seeds[0].curves:
            trust = worst([result.trust(metric) for result in seeds]).level
            curve = METRICS[metric].mean_curve([(result.outcome, result.beside) for result in seeds])
            means.extend(curve_rows(cell, metric, curve, trust, "", seeds[0].outcome.AXIS))
    return means


def defused(text: str) -> str:
    """A text that no spreadsheet takes for a formula: with an apostrophe before it, which :func:`restored` removes.

    >>> defused("=1+1"), defused("fgsm"), restored(defused("=1+1")), restored(defused("'=1"))
    ("'=1+1", 'fgsm', '=1+1', "'=1")
    """
    return f"'{text}" if re.match(FORMULA, text) else text


def restored(text: str) -> str:
    """The text that :func:`defused` was given."""
    return text[1:] if text.startswith("'") and re.match(FORMULA, text[1:]) else text


def write(path: Path, rows: Iterable[Row], columns: Sequence[str]) -> None:
    """Write rows as CSV: numbers with six significant digits, ``nan`` where undefined, no eps for whole curves."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        values = {item.name: getattr(row.cell, item.name) for item in fields(row.cell)}
        values |= {"eps": "" if row.eps is None else f"{row.eps:.6g}", "metric": row.metric, "n": row.n}
        values |= {name: f"{getattr(row, name):.6g}" for name in ("value", "low", "high")}
        values |= {"trust": row.trust, "cell": row.key, "axis": row.axis}
        values = {name: defused(plain(value)) if name in TEXTS else value for name, value in values.items()}
        writer.writerow([values[column] for column in columns])
    write_atomically(path, text.getvalue().encode(errors="backslashreplace"))


def read(path: Path) -> list[Row]:
    """Rows of a ``table.csv`` or ``summary.csv``.

    Raises:
        ResultsError: It cannot be read, or is no such table.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [_row(line) for line in csv.DictReader(file)]
    except OSError as error:
        raise ResultsError(f"cannot read {path} ({error.strerror or error}).") from error
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise ResultsError(f"{path} is damaged or no table of tl_robust ({type(error).__name__}: {error}).") from error


def _row(line: dict[str, str]) -> Row:
    line = {name: restored(value) if name in TEXTS and value else value for name, value in line.items()}
    named = [item.name for item in fields(Cell) if item.default is MISSING or line.get(item.name)]
    texts: dict[str, Any] = {name: line[name] for name in named if name != "seed"}
    cell = Cell(**(texts | {"seed": int(line.get("seed", -1)), "target_images": int(line["target_images"])}))
    value, low, high = (float(line[name]) for name in ("value", "low", "high"))
    eps = float(line["eps"]) if line["eps"] else None
    axis = line.get("axis") or "eps"  # tables of earlier versions have no such column
    return Row(cell, eps, line["metric"], value, int(line["n"]), low, high, line["trust"], line.get("cell", ""), axis)
