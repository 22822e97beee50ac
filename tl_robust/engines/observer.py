"""What an engine tells about its progress."""

from __future__ import annotations


class Observer:
    """Hears of progress; this base tells nobody, and the terminal overrides what it shows.

    A stage is the title of a kind of node; work is in the units of that kind.
    """

    def expect(self, stage: str, items: int, work: int) -> None:
        """So many items with so much work are still to do in a stage."""

    def begin(self, stage: str, label: str) -> None:
        """An item begins."""

    def advance(self, stage: str, work: int) -> None:
        """Part of the current item's work is done."""

    def end(self, stage: str, label: str, seconds: float, note: str) -> None:
        """An item is done."""

    def drop(self, stage: str, work: int) -> None:
        """An item is not done here: what it needs failed."""

    def warn(self, message: str) -> None:
        """Something the user should know."""
