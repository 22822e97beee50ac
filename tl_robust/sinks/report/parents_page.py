"""``by_parent.html``: which backbone to start from, on one page that opens without a network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tl_robust.audit import parent_words as words
from tl_robust.audit.by_parent import ORDER, Line, Refused
from tl_robust.files import write_atomically
from tl_robust.results.names import MARKS
from tl_robust.sinks.report import rendering
from tl_robust.sinks.report.blocks import Block, Measured, Points, Table, Text, Why
from tl_robust.text import first_few

MEANT = (
    "Accuracies and the price are means over the models of a parent, with 95 % intervals for other models and other "
    "images; with one model they are for other images alone.",
    "The price of a parent is how many more images examples crafted on it turn than those crafted on unrelated models.",
    "Claimed: of how many of its models the parent was told from the models alone.",
    "Alarms: at how many of its models a sign of a backdoor was clearer than at every clean model that was asked; "
    "with n of those, a clean model is one of them once in n + 1 times.",
)


def write(lines: Sequence[Line], refused: Sequence[Refused], path: Path) -> None:
    """Write the page.

    Args:
        lines: As :func:`tl_robust.audit.by_parent.lines` gives them.
        refused: Models without numbers.
        path: Of the page.

    Raises:
        ResultsError: It cannot be written.
    """
    page = {"sections": list(_sections(lines, refused))}
    write_atomically(path, rendering.page(page, "by_parent.html.j2").encode())


def _sections(lines: Sequence[Line], refused: Sequence[Refused]) -> list[tuple[str, list[Block]]]:
    found: list[tuple[str, list[Block]]] = []
    for (setting, members), answer in zip(words.by_setting(lines).items(), words.answers(lines), strict=True):
        table = Table(setting.text or "Nothing was attacked", words.HEADS, [_row(line) for line in members], cards=True)
        found.append(("Which parent to start from", [Text(answer), table]))
    if lines:
        found.append(("How to read it", [Points([ORDER, *MEANT])]))
    if refused:
        body = [(item.name, item.parent or words.UNDECLARED, item.reason) for item in refused]
        title = "They stand in no row of the table by parent."
        found.append(("Models without numbers", [Table(title, ("model", "parent", "reason"), body, cards=True)]))
    return found


def _row(line: Line) -> tuple[str | Measured | Why, ...]:
    count = len(line.models)

    def cell(name: str) -> Measured:
        return Measured(*words.mean_text(getattr(line, name), count, points=name == "price"))

    trust = MARKS[line.trust.level]
    return (
        words.name(line),
        f"{count} ({first_few(line.models, 3)})",
        cell("clean"),
        cell("transfer"),
        words.least_text(line),
        cell("white"),
        cell("price"),
        words.claimed_text(line),
        words.alarms_text(line),
        Why(trust, " ".join(line.trust.reasons)) if line.trust.reasons else trust,
    )
