"""``report.html``, one file that opens without a network, and ``report.md``: the answer first, then how it was made.

Both are pure functions of :class:`Views`. A section is a list of blocks, and a new section one more line of
:func:`sections_of`; ``templates/`` says how blocks look and what stands around them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import ClassVar

from markupsafe import Markup

from tl_robust.errors import TLRobustError
from tl_robust.files import write_atomically
from tl_robust.results.answer import headline_rows
from tl_robust.results.faces import face_of
from tl_robust.results.names import Names, grid
from tl_robust.results.table import Row
from tl_robust.sinks.base import Views
from tl_robust.sinks.report import markdown, origins, rendering, sections
from tl_robust.sinks.report.blocks import Block, Panels
from tl_robust.sinks.report.charts import COLORS, DASHES, SHAPES, figure, limits, lines, packed, strips
from tl_robust.sinks.report.decisions import decisions
from tl_robust.sinks.report.matrix import matrices
from tl_robust.sinks.report.pictures import gallery
from tl_robust.types import Face

__all__ = ["figure", "write"]
FIGURE = "curves.svg"
Section = tuple[str, list[Block]]


def write(views: Views) -> list[Path]:
    """Write ``report.html`` and ``report.md``; the same views give the same bytes.

    Returns:
        The paths of both files; ``curves.svg``, the figure of ``report.md``, is beside them.

    Raises:
        ResultsError: The folder cannot be written.
    """
    names = Names.of(row.cell for row in views.summary)
    answers, charted = sections.answers(views, names)
    shown = [(title, blocks) for title, blocks in sections_of(views, names, answers, charted) if blocks]
    facts = [sections.facts(views), *([] if answers else views.notes), sections.ran(views, names)]
    page, text = views.folder / "report.html", views.folder / "report.md"
    write_atomically(page, _page(views, facts, shown, names).encode())
    rows = [row for row in views.summary if (row.cell.threat, names.group(row.cell)) in charted]
    picture = _figure(views, rows, names)
    write_atomically(text, markdown.document(views.bench, facts, shown, picture).encode())
    return [page, text]


def sections_of(views: Views, names: Names, answers: list[Block], charted: set[tuple[str, str]]) -> Iterator[Section]:
    """Every section of the report; those without blocks are not shown.

    Args:
        views: What is shown.
        names: How cells are named.
        answers: The blocks of the first section.
        charted: Threat, and pair and attack, whose charts are among them.
    """
    yield "The answer", answers
    yield "Failures", origins.failed(views.failures)
    threats = list(dict.fromkeys(row.cell.threat for row in views.summary))
    of_threats = [_OfThreat(views, threat, names, len(threats) > 1) for threat in threats]
    for of_threat in of_threats:
        yield from of_threat.curves(charted)
    yield "Claims", decisions(views.findings)
    for of_threat in of_threats:
        yield from of_threat.models()
    yield "Trust", origins.trust(views.results, names)
    for of_threat in of_threats:
        yield from of_threat.others()
    yield "Cost", origins.cost(views.seconds)
    yield "How each number was made", origins.how_made(views.results, views.text)


class _OfThreat:
    """The sections of one threat; where the bench has several, its name stands behind their titles."""

    def __init__(self, views: Views, threat: str, names: Names, named: bool) -> None:
        self._rows = [row for row in views.summary if row.cell.threat == threat]
        self._results = [result for result in views.results if result.cell.threat == threat]
        self._face, self._names, self._views = face_of(self._rows[0].cell, views.faces), names, views
        self._suffix = f" ({self._face.name.lower()})" if named else ""

    def curves(self, charted: set[tuple[str, str]]) -> Iterator[Section]:
        face, names = self._face, self._names
        yield face.title + self._suffix, sections.curves(face, self._rows, names, [face.headline], charted)
        yield face.charts_title + self._suffix, sections.curves(face, self._rows, names, face.charts)

    def models(self) -> Iterator[Section]:
        face, results, rows, names = self._face, self._results, self._rows, self._names
        yield "Lineage: who helps the attacker" + self._suffix, matrices(face, results, rows, names)
        yield "Pictures" + self._suffix, gallery(face, results, rows, self._views.pictures, names)
        clean, whole = sections.clean(face, results, names), sections.whole_curves(face, rows, names)
        yield "Clean accuracy and whole curves" + self._suffix, [*clean, *whole]

    def others(self) -> Iterator[Section]:
        yield "Other metrics" + self._suffix, sections.others(self._face, self._rows, self._names)


def _figure(views: Views, rows: Sequence[Row], names: Names) -> str:
    """Draw the curves of the answer; returns what ``report.md`` shows of them, or why it shows none."""
    path = views.folder / FIGURE
    headlines = headline_rows(rows, views.faces)
    if not headlines:
        path.unlink(missing_ok=True)  # that of an earlier report
        return ""
    try:
        figure(rows, path, names, views.faces)
    except TLRobustError as error:
        path.unlink(missing_ok=True)
        return markdown.escaped(f"The figure is missing: {error}")
    face = face_of(headlines[0].cell, views.faces)
    return f"![{face.title} over {face.axis}]({path.name})"


@dataclass(frozen=True)
class Charts:
    """Charts side by side as the template knows them.

    Attributes:
        places: Title of each chart, and its place among all charts of the page.
    """

    kind: ClassVar = "charts"
    places: Sequence[tuple[str, int]]


class _Numbering:
    """Gives every chart of the page its place, and keeps what the script draws there.

    Charts of one metric over the same values share a specification, which is most of their size.
    """

    def __init__(self, views: Views, names: Names) -> None:
        self._views, self._names = views, names
        self.strategies = list(dict.fromkeys(names.strategy(row.cell) for row in views.summary))
        self._specs: dict[tuple[object, ...], dict[str, object]] = {}
        self.panels: list[dict[str, object]] = []

    @property
    def specs(self) -> list[dict[str, object]]:
        return list(self._specs.values())

    def charts(self, group: Panels) -> Charts:
        return Charts([(title, self._place(group.face, title, metric, rows)) for title, metric, rows in group.panels])

    def _place(self, face: Face, title: str, metric: str, rows: Sequence[Row]) -> int:
        xs = grid(rows)
        key = face.threat, metric, *xs
        if key not in self._specs:
            of_threat = (row for row in self._views.summary if row.cell.threat == face.threat)
            chart = lines(face, metric, xs, self.strategies, limits(metric, of_threat)).to_dict()
            self._specs[key] = {"chart": chart, "xs": xs, "strips": strips(face, xs), "strategies": self.strategies}
        group = self._names.group(rows[0].cell)
        label = f"{title}, {group}: {metric} over {face.axis}; the table below has its values"
        spec = list(self._specs).index(key)
        self.panels.append({"spec": spec, "label": label, "lines": packed(rows, self._names, self.strategies)})
        return len(self.panels) - 1


def _page(views: Views, facts: Sequence[str], shown: Sequence[Section], names: Names) -> str:
    numbering = _Numbering(views, names)
    numbered = [
        (title, [numbering.charts(block) if isinstance(block, Panels) else block for block in blocks])
        for title, blocks in shown
    ]
    keys = [
        (name, *(kind[place % len(kind)] for kind in (COLORS, DASHES, SHAPES)))
        for place, name in enumerate(numbering.strategies)
    ]
    context: dict[str, object] = {"title": views.bench, "facts": facts, "sections": numbered, "strategies": keys}
    context["charts"] = {"specs": numbering.specs, "panels": numbering.panels}
    context["bundle"] = Markup(_bundle()) if numbering.panels else ""
    return rendering.page(context)


@cache
def _bundle() -> str:
    import vl_convert

    script: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    return script.replace("</script", "<\\/script")
