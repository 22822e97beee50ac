"""Tables of the overview run: of a bench what no single cell shows, in pages where they are long."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from tl_robust.results import answer
from tl_robust.results.answer import headline_rows
from tl_robust.results.card import Card
from tl_robust.results.faces import by_threat, face_of
from tl_robust.results.names import MARKS, Names, grouped
from tl_robust.results.table import SUMMARY_COLUMNS, Row
from tl_robust.sinks.base import Views
from tl_robust.sinks.report.matrix import model_name
from tl_robust.sinks.wandb.limits import TABLE_PAGES, TABLE_ROWS
from tl_robust.types import Outcome, Result

LINEAGE = "overview/lineage"
TRUST_COLUMNS = ("trust", "reason", "cells", "for example")
OF_CARD = ("value", "low", "high", "n", "change", "change_low", "change_high", "p", "decision", "trust", "why")


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        columns: Their names.
        rows: Values; undefined numbers are None.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


def judged(views: Views) -> list[Row]:
    """The headline metric of the first threat whose examples are crafted on one model and judged on another."""
    crafted = {replace(result.cell, seed=-1) for result in views.results if isinstance(result.outcome, Outcome)}
    rows = [row for row in headline_rows(views.summary, views.faces) if row.cell in crafted]
    return by_threat(rows, views.faces)[0][1] if rows else []


def tables(views: Views) -> dict[str, Table]:
    """All tables of a bench by their keys in W&B."""
    faces, findings, crafted = views.faces, views.findings, judged(views)
    headlines = [row for face, rows in by_threat(views.summary, faces) for row in rows
                 if row.eps is not None and row.metric in (face.headline, *face.beside)]  # fmt: skip
    columns = [item.name for item in fields(findings[0])] if findings else []
    claims = Table(columns, [[_value(getattr(finding, name)) for name in columns] for finding in findings])
    return {
        "overview/accuracy": _summary(headlines),
        "overview/summary": _summary(views.summary),
        **({LINEAGE: _lineage(crafted, views)} if crafted else {}),
        "overview/answer": Table(["answer"], [[line] for line in _answer(views)]),
        "overview/trust": Table(TRUST_COLUMNS, reasons(views.results)),
        **({"overview/claims": claims} if findings else {}),
        **({"overview/defenses": _card(views.cards)} if views.cards else {}),
    }


def paged(whole: Mapping[str, Table]) -> tuple[dict[str, Table], list[str]]:
    """The tables, a long one in pages: W&B drops what stands behind the last row that it takes, silently.

    Returns:
        Tables by key, a further page as ``KEY_page_2``; and a sentence for each table that has several.
    """
    pages, sentences = dict[str, Table](), list[str]()
    for key, table in whole.items():
        starts = range(0, max(1, len(table.rows)), TABLE_ROWS)
        for page, start in enumerate(starts[:TABLE_PAGES], 1):
            pages[key + f"_page_{page}" * (page > 1)] = Table(table.columns, table.rows[start : start + TABLE_ROWS])
        if len(starts) > 1:
            shown = min(len(table.rows), TABLE_PAGES * TABLE_ROWS)
            sentences.append(
                f"overview: {key} has {len(table.rows)} rows; {shown} of them are shown, in pages of {TABLE_ROWS}, and "
                "table.csv has all."
            )
    return pages, sentences


def _answer(views: Views) -> list[str]:
    """The answer in words, as a run prints it at its end."""
    if not headline_rows(views.summary, views.faces):
        return []
    seeds = len({result.cell.seed for result in views.results})
    return answer.lines(views.summary, views.findings, seeds, views.faces)


def _value(value: Any) -> Any:
    """As W&B keeps it: undefined numbers are empty."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def reasons(results: Iterable[Result[Any]]) -> list[list[Any]]:
    """Each reason why cells are not green once, the worst level first, with the number of cells and one of them.

    Args:
        results: The cells.

    Returns:
        Rows of :data:`TRUST_COLUMNS`.
    """
    there = [
        (result.verdict.level, reason, str(result.cell)) for result in results for reason in result.verdict.reasons
    ]
    found = grouped(there, lambda item: item[:2])
    ranked = sorted(found.items(), key=lambda item: (-list(MARKS).index(item[0][0]), -len(item[1])))
    return [[level, reason, len(cells), cells[0][2]] for (level, reason), cells in ranked]


def _summary(rows: Iterable[Row]) -> Table:
    values = [vars(row.cell) | vars(row) for row in rows]
    return Table(SUMMARY_COLUMNS, [[_value(row[name]) for name in SUMMARY_COLUMNS] for row in values])


def _card(cards: Iterable[Card]) -> Table:
    """A row for each defense and column of each card."""
    own = ("source", "target", "network", "strategy", "common", "eps")
    body = []
    for card in cards:
        for line in card.lines:
            for column in card.columns:
                entry = line.entries[column.name]
                told = entry.effect
                effect = [told.value, told.low, told.high, told.p] if told else [None] * 4
                number = [entry.value, entry.low, entry.high, entry.n]
                words = [entry.decision, entry.trust.level, entry.why]
                row = [*(getattr(card, name) for name in own), line.defense, column.name, *number, *effect, *words]
                body.append([_value(item) for item in row])
    return Table((*own, "defense", "column", *OF_CARD), body)


def _lineage(judged: Sequence[Row], views: Views) -> Table:
    """Surrogates x victims: the headline metric of each victim on what was crafted on each surrogate."""
    names = Names.of(result.cell for result in views.results)
    models = {replace(result.cell, seed=-1): result.provenance for result in views.results}
    axis = face_of(judged[0].cell, views.faces).axis if judged else "x"

    def name(row: Row, role: str) -> str:
        model = models[row.cell].get(role)
        return model_name(model) if isinstance(model, Mapping) else f"{role} of {names.strategy(row.cell)}"

    victims = list(dict.fromkeys(name(row, "victim") for row in judged))
    lines = grouped(judged, lambda row: (names.target(row.cell), row.eps, name(row, "surrogate")))
    body = []
    for (target, x, surrogate), rows in lines.items():
        at = {name(row, "victim"): _value(row.value) for row in rows}
        body.append([target, x, surrogate, *(at.get(victim) for victim in victims)])
    return Table(["target, attack", axis, "crafted on", *victims], body)
