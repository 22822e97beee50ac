"""``card.html``, the defense card as one page made for print, and ``card.json``; in benches with defenses alone."""

from __future__ import annotations

from collections.abc import Iterator

from tl_robust.results import card_file
from tl_robust.sinks.base import Views, sink
from tl_robust.sinks.report import card_page
from tl_robust.sinks.report.sections import facts

FILES = ("card.html", "card.json")


@sink(files=FILES)
def card(views: Views) -> Iterator[str]:
    """Write the card; where nothing is defended, that of an earlier bench goes."""
    if not views.cards:
        for name in FILES:
            (views.folder / name).unlink(missing_ok=True)
        return
    page, file = (views.folder / name for name in FILES)
    card_page.write(views.cards, page, [facts(views)])
    card_file.write(file, views.cards, views.results)
    yield f"Defense card: {page}, {file.name}"
