"""``leaderboard.html``, one page of the leaderboard files that were merged; a bench has none."""

from __future__ import annotations

from collections.abc import Iterator

from tl_robust.sinks.base import Views, sink
from tl_robust.sinks.report import board_page

PAGE = "leaderboard.html"


@sink(files=(PAGE,))
def leaderboard(views: Views) -> Iterator[str]:
    """Write the page."""
    if views.board:
        board_page.write(views.board, views.folder / PAGE, views.bench, views.program)
        yield f"Leaderboard: {views.folder / PAGE}"
