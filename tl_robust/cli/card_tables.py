"""The defense card as the terminal shows it: numbers and marks alone, in one screen."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from rich.table import Table
from rich.text import Text

from tl_robust.results import card_words as words
from tl_robust.results.card import Card, Line
from tl_robust.results.columns import Column
from tl_robust.results.names import EFFECTS, MARKS, number
from tl_robust.text import eps_text, plain

STYLES = {"helps": "green", "harms": "red", "cannot tell": "dim"}
ROWS = 40  # defenses of all tables, so that they stay one screen
LEGEND = "  ".join(EFFECTS.values()) + ", each beside none; training and inference cost as multiples; see card.html"


def card_tables(cards: Sequence[Card]) -> Iterator[Table | str]:
    """Of each pair and strategy a table at the eps that is shown first, with the columns that were run.

    Args:
        cards: As :func:`tl_robust.results.card.cards` gives them; none give nothing.
    """
    groups, printed = words.groups(cards), 0
    for heading, (first, *_) in groups:
        if printed and printed + len(first.lines) > ROWS:
            yield f"{len(groups)} defense cards in all: see card.html"
            break
        printed += len(first.lines)
        yield _table(heading, first)
    if groups:
        yield LEGEND


def _table(heading: str, card: Card) -> Table:
    size = "" if math.isnan(card.eps) else f", eps {eps_text(card.eps)}"
    title = f"Defense card: {heading}{size}, in %"
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("defense", min_width=12, max_width=28, overflow="fold")
    columns = words.told(card)
    for column in columns:
        table.add_column(column.name, justify="right", min_width=7, no_wrap=True)
    table.add_column("trust", no_wrap=True, min_width=7)
    for line in card.lines:
        table.add_row(line.defense, *(_cell(line, column) for column in columns), MARKS[line.trust.level])
    return table


def _cell(line: Line, column: Column) -> Text:
    entry = line.entries[column.name]
    if math.isnan(entry.value):
        return Text(plain(words.value_text(line, column)), "dim")
    mark = words.decision_text(entry)[:1]
    value = words.value_text(line, column) if column.unit == "ratio" else number(entry.value, column.unit)
    return Text.assemble(value, " ", (mark or " ", STYLES.get(entry.decision, "")))
