"""``card.html``: the defense cards as one page that opens without a network and is made for print."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tl_robust.files import write_atomically
from tl_robust.results import card_words as words
from tl_robust.results.card import Card
from tl_robust.sinks.report import card, rendering
from tl_robust.sinks.report.blocks import Fold


def write(cards: Sequence[Card], path: Path, about: Sequence[str]) -> None:
    """Write the page: of each pair and strategy a page with the table, and one with what explains it.

    Args:
        cards: As :func:`tl_robust.results.card.cards` gives them, at least one.
        path: Of the page.
        about: Sentences below its heading: bench, date, seeds.

    Raises:
        ResultsError: It cannot be written.
    """
    sections = []
    for heading, members in words.groups(cards):
        table, *blocks = card.one(members)
        apart = [block for block in blocks if isinstance(block, Fold) and block.aside]
        sections.append((heading, table, apart, [block for block in blocks if block not in apart]))
    context = {"title": "; ".join(heading for heading, *_ in sections), "facts": list(about), "sections": sections}
    write_atomically(path, rendering.page(context, "card.html.j2").encode())
