"""``table.csv``, ``summary.csv`` and ``failures.json``: every number, as other programs read them."""

from __future__ import annotations

import json
from collections.abc import Iterator

from tl_robust.files import write_atomically
from tl_robust.results import table
from tl_robust.sinks.base import Views, sink


@sink(files=("table.csv", "summary.csv", "failures.json"))
def tables(views: Views) -> Iterator[str]:
    """Write the rows of single cells, those of means over seeds, and what failed."""
    table.write(views.folder / "table.csv", views.rows, table.COLUMNS)
    table.write(views.folder / "summary.csv", views.summary, table.SUMMARY_COLUMNS)
    write_atomically(views.folder / "failures.json", json.dumps(list(views.failures), indent=1).encode())
    yield f"Tables: {views.folder / 'table.csv'}, summary.csv"
