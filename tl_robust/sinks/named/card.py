"""``card.html``, the defense card as one page made for print; in benches with defenses alone."""

from __future__ import annotations

from collections.abc import Iterator

from tl_robust.sinks.base import Views, sink
from tl_robust.sinks.report import card_page
from tl_robust.sinks.report.sections import facts

FILES = ("card.html",)


@sink(files=FILES)
def card(views: Views) -> Iterator[str]:
    """Write the card; where nothing is defended, that of an earlier bench goes."""
    if not views.cards:
        for name in FILES:
            (views.folder / name).unlink(missing_ok=True)
        return
    path = views.folder / "card.html"
    card_page.write(views.cards, path, [facts(views)])
    yield f"Defense card: {path}"
