"""The curves that answer as a picture, for a paper, for ``report.md`` and for Weights & Biases."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from tl_robust.errors import ConfigError, ResultsError
from tl_robust.files import write_atomically
from tl_robust.results.answer import headline_rows
from tl_robust.results.faces import FACES, by_threat, face_of
from tl_robust.results.names import Names, grid, grouped
from tl_robust.results.table import Row
from tl_robust.sinks.report.charts import leading, limits, lines, points, thin_title
from tl_robust.sinks.report.dots import at_one_place, dots
from tl_robust.sinks.report.drawing import draw
from tl_robust.types import Face

if TYPE_CHECKING:
    import altair

FIGURES = ("svg", "png", "pdf")
WIDTH, HEIGHT = 360, 220  # pixels of one chart


def figure(summary: Sequence[Row], path: Path, names: Names | None = None, faces: Mapping[str, Face] = FACES) -> None:
    """Write the headline curves of a summary as a picture on white: SVG, PNG or PDF by the suffix of ``path``.

    The same rows give the same bytes; a PDF of them may have its parts in another order. ``names`` are by default by
    what differs among the rows.

    Raises:
        ConfigError: The suffix is none of these.
        ResultsError: The folder cannot be written, the picture cannot be drawn, or what its lines must be compared with
            is missing.
    """
    import altair as alt

    kind = path.suffix.lower().lstrip(".")
    if kind not in FIGURES:
        raise ConfigError(f"a figure must be a file {', '.join(f'.{each}' for each in FIGURES)}; got {path.name!r}.")
    rows = headline_rows(summary, faces)
    names = names or Names.of(row.cell for row in rows)
    strategies = list(dict.fromkeys(names.strategy(row.cell) for row in rows))
    lanes: list[altair.LayerChart | altair.HConcatChart] = []
    for face, curves in by_threat(rows, faces):
        of_threat = [row for row in summary if row.cell.threat == face.threat and row.eps is not None]
        alone = at_one_place(face, curves)
        for (pair, view), members in alone.items():
            title = alt.Title(pair, subtitle=f"{face.views[view]}; {face.at(members[0].eps or 0.0)}", offset=6)
            lanes.append(dots(face, members, strategies, names, True).properties(width=2 * WIDTH, title=title))
        along = [row for row in curves if not any(row in members for members in alone.values())]
        for group, members in grouped(along, lambda row: names.group(row.cell)).items():
            panels = list(_panels(face, group, members, of_threat, names, strategies))
            lanes += [alt.hconcat(*panels)] if panels else []
    if not lanes:
        missing = ", ".join(dict.fromkeys(face_of(row.cell, faces).compared.get(row.metric, "") for row in rows))
        raise ResultsError(f"the curves are not drawn without {missing}, which is missing: run the bench again.")
    chart = alt.vconcat(*lanes).configure(background="white", font="sans-serif").configure_title(anchor="start")
    write_atomically(path, draw(chart.to_dict(), kind, 2 if kind == "png" else 1))


def _panels(
    face: Face, group: str, curves: Sequence[Row], rows: Sequence[Row], names: Names, strategies: Sequence[str]
) -> Iterator[altair.LayerChart]:
    """Charts of one pair and attack: the headline of each view, and what is charted after it where attacks are ranked.

    Args:
        face: How the threat reads.
        group: Name of pair and attack.
        curves: Their headline.
        rows: All numbers of the threat along its axis.
        names: How cells are named.
        strategies: All labels of the picture, in its order.
    """
    import altair as alt

    at = grouped((row for row in rows if names.group(row.cell) == group), lambda row: (row.cell.view, row.metric))
    there = {row.cell.view for row in curves}
    metrics = [*leading(face), *(face.charts if face.ranked else ())]
    for view, metric in product((view for view in face.views if view in there), metrics):
        other = face.compared.get(metric, "")
        thin = at.get((view, other), [])
        if (here := at.get((view, metric), [])) and (thin or not other):
            chart = lines(face, metric, grid(curves), strategies, limits(face, metric, rows), points(here, names),
                          points(thin, names))  # fmt: skip
            word = face.word if metric == face.headline else face.beside.get(metric, metric.replace("_", " "))
            below = thin_title(face, f"{face.views[view]}; {word}", other)
            yield chart.properties(width=WIDTH, height=HEIGHT, title=alt.Title(group, subtitle=below, offset=6))
