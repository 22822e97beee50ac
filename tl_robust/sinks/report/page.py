"""``report.html``, one file that opens without a network, and ``report.md``: the answer first, then how it was made.

Both are pure functions of :class:`Views`. A section is a list of blocks, and a new section one more line of
:func:`sections_of`, or of :data:`OWN` where it tells of one class of records; ``templates/`` says how blocks look and
what stands around them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from tl_robust.sinks.report.blocks import Block, Drawing, Drawings, Panel, Panels
from tl_robust.sinks.report.card import defense_cards
from tl_robust.sinks.report.charts import COLORS, DASHES, SHAPES, leading, limits, lines, packed, strips
from tl_robust.sinks.report.decisions import decisions
from tl_robust.sinks.report.exposure import audit, exposed, parents
from tl_robust.sinks.report.figures import figure
from tl_robust.sinks.report.matrix import matrices
from tl_robust.sinks.report.part import Part
from tl_robust.sinks.report.pictures import gallery
from tl_robust.sinks.report.protection import alarms, defended
from tl_robust.sinks.report.roc import curves as roc_curves
from tl_robust.sinks.report.stamped_pictures import stamped_gallery
from tl_robust.sinks.report.survival import poison, survival, worst_classes
from tl_robust.types import Exposure, Face, Outcome, Record, Stamped

__all__ = ["figure", "write"]
FIGURE = "curves.svg"
Section = tuple[str, list[Block]]
Maker = Callable[[Part], list[Block]]
SUMMARIES: Mapping[type[Record], Maker] = {
    Stamped: lambda part: [*survival(part), *worst_classes(part)],
    Exposure: lambda part: [*exposed(part), *parents(part)],
}
"""What sums the answer up for a threat that keeps such records, in place of the table of its headline."""
OWN: Mapping[type[Record], Mapping[str, Maker]] = {
    Outcome: {
        "Lineage: who helps the attacker": lambda part: matrices(part.face, part.results, part.rows, part.names),
        "Pictures": lambda part: gallery(part.face, part.results, part.rows, part.pictures, part.names),
    },
    Stamped: {
        "Poison": poison,
        "Filters, repairs and alarms": lambda part: [*defended(part), *alarms(part)],
        "Stamped pictures": stamped_gallery,
    },
    Exposure: {"ROC curves": roc_curves, "Audit of privacy": audit},
}
"""Sections of a threat that keeps such records, by their titles; a new record has its line here."""


def write(views: Views) -> list[Path]:
    """Write ``report.html`` and ``report.md``; the same views give the same bytes.

    Returns:
        The paths of both files; ``curves.svg``, the figure of ``report.md``, is beside them.

    Raises:
        ResultsError: The folder cannot be written.
    """
    names = Names.of(row.cell for row in views.summary)
    threats = list(dict.fromkeys(row.cell.threat for row in views.summary))
    of_threats = {threat: _OfThreat(views, threat, names, len(threats) > 1) for threat in threats}
    own = {threat: of_threat.summary() for threat, of_threat in of_threats.items()}
    answers, charted = sections.answers(views, names, own)
    shown = [
        (title, blocks)
        for title, blocks in sections_of(views, names, answers, charted, list(of_threats.values()))
        if blocks
    ]
    facts = [sections.facts(views), *([] if answers else views.notes), sections.ran(views, names)]
    page, text = views.folder / "report.html", views.folder / "report.md"
    write_atomically(page, _page(views, facts, shown, names).encode())
    rows = [row for row in views.summary if (row.cell.threat, names.group(row.cell)) in charted]
    picture = _figure(views, rows, names)
    write_atomically(text, markdown.document(views.bench, facts, shown, picture).encode())
    return [page, text]


def sections_of(
    views: Views, names: Names, answers: list[Block], charted: set[tuple[str, str]], of_threats: Sequence[_OfThreat]
) -> Iterator[Section]:
    """Every section of the report; those without blocks are not shown.

    Args:
        views: What is shown.
        names: How cells are named.
        answers: The blocks of the first section.
        charted: Threat, and pair and attack, whose charts are among them.
        of_threats: The sections of each threat.
    """
    yield "The answer", answers
    yield "Defense card", defense_cards(views.cards)
    yield "Failures", origins.failed(views.failures)
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
        rows = [row for row in views.summary if row.cell.threat == threat]
        results = [result for result in views.results if result.cell.threat == threat]
        self._part = Part(face_of(rows[0].cell, views.faces), results, rows, views.pictures, names)
        self._record = type(results[0].outcome) if results else Record
        self._suffix = f" ({self._part.face.name.lower()})" if named else ""

    def summary(self) -> list[Block]:
        return SUMMARIES[self._record](self._part) if self._record in SUMMARIES else []

    def curves(self, charted: set[tuple[str, str]]) -> Iterator[Section]:
        face, rows, names = self._part.face, self._part.rows, self._part.names
        yield face.title + self._suffix, sections.curves(face, rows, names, leading(face), charted)
        yield face.charts_title + self._suffix, sections.curves(face, rows, names, face.charts)

    def models(self) -> Iterator[Section]:
        part = self._part
        for title, maker in OWN.get(self._record, {}).items():
            yield title + self._suffix, maker(part)
        clean = sections.clean(part.face, part.results, part.names)
        title = "Clean accuracy and whole curves" if clean else "Whole curves"
        yield title + self._suffix, [*clean, *sections.whole_curves(part.face, part.rows, part.names)]

    def others(self) -> Iterator[Section]:
        yield "Other metrics" + self._suffix, sections.others(self._part.face, self._part.rows, self._part.names)


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

    def charts(self, group: Panels | Drawings) -> Charts:
        if isinstance(group, Drawings):
            return Charts([(drawing.title, self._drawn(drawing)) for drawing in group.drawings])
        return Charts([(panel.title, self._place(group.face, panel)) for panel in group.panels])

    def _place(self, face: Face, panel: Panel) -> int:
        xs, metric = grid(panel.rows), panel.metric
        other = panel.compared[0].metric if panel.compared else ""
        key = face.threat, metric, other, *xs
        if key not in self._specs:
            of_threat = (row for row in self._views.summary if row.cell.threat == face.threat)
            chart = lines(
                face, metric, xs, self.strategies, limits(face, metric, of_threat), thin=bool(other)
            ).to_dict()
            self._specs[key] = {"chart": chart, "xs": xs, "strips": strips(face, xs), "strategies": self.strategies}
            self._specs[key] |= {"compared": other} if other else {}
        group, both = self._names.group(panel.rows[0].cell), " and ".join(filter(None, (metric, other)))
        label = f"{panel.title}, {group}: {both} over {face.axis}; the table below has its values"
        spec = list(self._specs).index(key)
        self.panels.append({"spec": spec, "label": label, "lines": packed(panel.rows, self._names, self.strategies)})
        self.panels[-1] |= {"thin": packed(panel.compared, self._names, self.strategies)} if other else {}
        return len(self.panels) - 1

    def _drawn(self, drawing: Drawing) -> int:
        chart = drawing.chart(self.strategies)
        key = (json.dumps(chart),)
        self._specs.setdefault(key, {"chart": chart, "strategies": self.strategies})
        lines = [[self.strategies.index(strategy), *numbers] for strategy, numbers in drawing.lines]
        self.panels.append({"spec": list(self._specs).index(key), "label": drawing.label, "lines": lines})
        return len(self.panels) - 1


def _page(views: Views, facts: Sequence[str], shown: Sequence[Section], names: Names) -> str:
    numbering = _Numbering(views, names)
    numbered = [
        (title, [numbering.charts(block) if isinstance(block, Panels | Drawings) else block for block in blocks])
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
