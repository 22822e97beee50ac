"""What differs between two runs of the same pairs: settings, and numbers beyond their intervals or not."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from rich.table import Table

from tl_robust.sinks.blocks import Names, eps_text
from tl_robust.sinks.table import Row

SHOWN = "robust_accuracy"


def tables(rows: Mapping[str, Sequence[Row]], settings: Mapping[str, Mapping[str, Any]]) -> Iterator[Table]:
    """Two tables: settings that differ, and accuracies that both have, matched by coordinates and eps.

    Args:
        rows: Name of a run to the rows of its summary; two runs.
        settings: Name of a run to its configuration.
    """
    first, second = rows
    flat = {name: dict(_flat(settings[name])) for name in rows}
    table = Table("setting", first, second, title="Settings", title_justify="left", box=None, pad_edge=False)
    for key in sorted(flat[first].keys() | flat[second].keys()):
        values = [str(flat[name].get(key, "-")) for name in rows]
        if values[0] != values[1] and key not in ("name", "profile"):
            table.add_row(key, *values)
    yield table
    rows = {name: [row for row in found if row.metric == SHOWN] for name, found in rows.items()}
    names = Names.of(row.cell for found in rows.values() for row in found)
    other = {_place(row): row for row in rows[second]}
    title = "Accuracy under attack in %, [95 % interval]; eps in pixels"
    table = Table("pair, attack", "view", "strategy", "eps", title=title, title_justify="left", box=None)
    for head in (first, second, "difference", "beyond noise"):
        table.add_column(head, justify="right", no_wrap=True)
    for row in rows[first]:
        match = other.get(_place(row))
        if match is None or row.eps is None:
            continue
        beyond = "yes" if row.low > match.high or match.low > row.high else "no"
        change = 100 * (row.value - match.value)
        found = ("n/a", "n/a") if math.isnan(change) else (f"{change:+.1f}", beyond)
        place = names.group(row.cell), row.cell.view, names.strategy(row.cell), eps_text(row.eps)
        table.add_row(*place, _percent(row), _percent(match), *found)
    yield table


def _place(row: Row) -> object:
    return replace(row.cell, bench="", seed=-1), round(row.eps or 0, 9)


def _percent(row: Row) -> str:
    return "n/a" if math.isnan(row.value) else f"{100 * row.value:.1f} [{100 * row.low:.1f}, {100 * row.high:.1f}]"


def _flat(item: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in item.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value
