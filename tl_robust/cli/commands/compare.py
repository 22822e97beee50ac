"""Show what moved between two benches, beyond noise or not.

example: tl-robust compare embedded results/other
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from tl_robust.cli.commands import base
from tl_robust.errors import ConfigError, ResultsError, TLRobustError, UnknownNameError
from tl_robust.registry import load_plugins

if TYPE_CHECKING:
    from tl_robust.results.difference import Comparison, Number, Side
    from tl_robust.results.table import Row


def arguments(parser: argparse.ArgumentParser) -> None:
    what = "a bench (a YAML file, or a name in experiments/), a folder of results, or leaderboard files"
    parser.add_argument("first", help=what)
    parser.add_argument("second", help="the same; a change is second minus first")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="for benches; folders take data.root alone")
    base.plugin_folders(parser)
    parser.add_argument("--metric", action="append", default=[], help="only this one; may be given several times")
    parser.add_argument("--rows", type=int, default=40, help="rows to print, 0: all (40)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--fail-on-move", action="store_true", help="exit with 1 where a number moved beyond noise")


def run(parsed: argparse.Namespace, console: Console) -> int:
    from tl_robust.metrics import METRICS
    from tl_robust.results import difference

    if parsed.rows < 0:
        raise ConfigError(f"--rows must be 0 (all) or more, got {parsed.rows}.")
    for folder in parsed.plugins:
        load_plugins(folder)
    sides = [_side(name, parsed.overrides) for name in (parsed.first, parsed.second)]  # its plugins may bring metrics
    for name in parsed.metric:
        if name not in METRICS:
            raise UnknownNameError("metric", name, METRICS.names())
    comparison = difference.compare(sides[0], sides[1], parsed.metric)
    if not comparison.numbers:
        raise ResultsError(
            f"{parsed.first} and {parsed.second} have no number in common: cells match where source, target, network, "
            "strategy, attack, view and number of target images are the same."
        )
    if parsed.json:
        print(json.dumps(_facts(comparison), allow_nan=False))  # noqa: T201
    else:
        printed = comparison.ranked[: parsed.rows or None]
        for table in difference.tables(comparison, printed):
            console.print(table)
        for line in _lines(comparison, len(printed)):
            console.print(line, soft_wrap=True)
    return int(parsed.fail_on_move and any(number.moved for number in comparison.numbers))


def _side(name: str, overrides: Sequence[str]) -> Side:
    from tl_robust.cli import session
    from tl_robust.config import load
    from tl_robust.results.difference import Side

    path = Path(name)
    if (path / "table.csv").is_file():
        return _folder(path, overrides)
    if path.is_dir() or path.suffix == ".json":
        return _board(path)
    config = load(base.path(name), overrides)
    return Side.of_results(name, session.results(config).results, config.settings)


def _board(path: Path) -> Side:
    from tl_robust.results import leaderboard
    from tl_robust.results.difference import Side, made

    board = leaderboard.read([path])
    if len(board.results) == len(board.entries):
        return Side.of_results(str(path), board.results)
    side = Side.of_rows(str(path), board.rows, board.summary, note="its files came without samples")
    return replace(side, made=made([entry.content["provenance"] for entry in board.entries]))


def _folder(path: Path, overrides: Sequence[str]) -> Side:
    """A folder of results: the outcomes of the store beside it where they are those of its table."""
    from tl_robust.cli import session
    from tl_robust.config import load
    from tl_robust.results import table
    from tl_robust.results.difference import Side

    rows, settings = table.read(path / "table.csv"), None
    try:
        # no plugins: a folder that someone sent must not run code
        where = [item for item in overrides if item.startswith(("data.root=", "data.cache="))]
        config = load(path / "config.yaml", [*where, f"results={path.resolve().parent}", "plugins=[]"])
        settings = config.settings
        results = session.results(config).results
        if {row.key for row in rows} == {result.key for result in results}:
            return Side.of_results(str(path), results, settings)
        note = "the store beside it has not the cells of its table"
    except TLRobustError as error:
        note = str(error).rstrip(".")
    means = table.read(path / "summary.csv") if (path / "summary.csv").is_file() else ()
    return replace(Side.of_rows(str(path), rows, means, note), settings=settings)


def _lines(comparison: Comparison, printed: int) -> Iterator[str]:
    """What a reader must know of the table, and the answer last."""
    if hidden := len(comparison.numbers) - printed:
        yield f"{hidden} more numbers: --rows 0 shows all, --metric NAME fewer."
    for side, only in zip((comparison.first, comparison.second), comparison.only, strict=True):
        if only:
            yield f"{only} cells (all seeds as one) are in {side.name} only."
        if side.settings is None:
            yield f"The settings of {side.name} are not known: differences of settings are not shown."
    paired = sum(number.paired for number in comparison.numbers)
    if paired < len(comparison.numbers):
        notes = [f"{side.name}: {side.note}" for side in (comparison.first, comparison.second) if side.note]
        why = "; ".join(notes) or "seeds or test images differ"
        yield (
            f"{len(comparison.numbers) - paired} of {len(comparison.numbers)} differences are from two independent "
            f"intervals, which are wider than those of a comparison sample by sample ({why})."
        )
    if any(len(seeds) == 1 for side in (comparison.first, comparison.second) for seeds in side.seeds.values()):
        yield "With one seed a difference speaks of these trainings alone: other seeds may differ as much."
    yield _answer(comparison)


def _answer(comparison: Comparison) -> str:
    from tl_robust.results.difference import signed
    from tl_robust.results.faces import face_of
    from tl_robust.results.names import number as text_of
    from tl_robust.results.names import unit

    moved = [number for number in comparison.ranked if number.moved]
    alone = sum(number.alone and not number.moved for number in comparison.numbers)
    text = f"{len(moved)} of {len(comparison.numbers)} numbers moved beyond noise (5 %, Holm over all)"
    if moved:
        number, kind = moved[0], unit(moved[0].first.metric)
        values = " to ".join(text_of(row.value, kind) for row in (number.first, number.second))
        at = "" if number.first.eps is None else f" at {face_of(number.first.cell).at(number.first.eps)}"
        cell = str(number.first.cell).rpartition(", seed")[0]
        text += f"; the largest: {number.first.metric}{at} of {cell}, from {values} ({signed(number.change, kind)})"
    return text + (f"; {alone} more would, looked at alone." if alone else ".")


def _facts(comparison: Comparison) -> dict[str, Any]:
    """The comparison as JSON; null for undefined numbers."""
    sides = (comparison.first, comparison.second)
    return {
        "first": comparison.first.name,
        "second": comparison.second.name,
        "settings": [dict(zip(("setting", "first", "second"), line, strict=True)) for line in comparison.settings],
        "only_first": comparison.only[0],
        "only_second": comparison.only[1],
        "compared": len(comparison.numbers),
        "paired": sum(number.paired for number in comparison.numbers),
        "notes": {side.name: side.note for side in sides if side.note},
        "moved": sum(number.moved for number in comparison.numbers),
        "numbers": [_fact(number) for number in comparison.ranked],
        "answer": _answer(comparison),
    }


def _fact(number: Number) -> dict[str, Any]:
    cell = {item.name: getattr(number.first.cell, item.name) for item in fields(number.first.cell)}
    place = {name: value for name, value in cell.items() if name not in ("bench", "seed")}
    change = {name: _known(getattr(number, name)) for name in ("change", "low", "high", "p")}
    return {
        **place,
        "metric": number.first.metric,
        "eps": number.first.eps,
        "first": _ends(number.first),
        "second": _ends(number.second),
        **change,
        "paired": number.paired,
        "moved": number.moved,
    }


def _ends(row: Row) -> dict[str, Any]:
    return {name: _known(getattr(row, name)) for name in ("value", "low", "high")} | {"n": row.n}


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
