"""What an executor tells about its progress."""

from __future__ import annotations

from typing import Literal, Protocol

Stage = Literal["training", "attack", "check", "picture"]


class Observer(Protocol):
    """Hears of progress: epochs of trainings, images of attacks, models of checks, craft groups of pictures."""

    def expect(self, stage: Stage, items: int, work: int) -> None:
        """So many items with so much work are still to do in a stage."""

    def begin(self, stage: Stage, label: str) -> None:
        """An item begins."""

    def advance(self, stage: Stage, work: int) -> None:
        """Part of the current item's work is done."""

    def end(self, stage: Stage, label: str, seconds: float, note: str) -> None:
        """An item is done."""

    def drop(self, stage: Stage, work: int) -> None:
        """An item is not done here: what it needs failed."""

    def warn(self, message: str) -> None:
        """Something the user should know."""


class Silent:
    """Tells nothing."""

    def expect(self, stage: Stage, items: int, work: int) -> None:
        """See :class:`Observer`."""

    def begin(self, stage: Stage, label: str) -> None:
        """See :class:`Observer`."""

    def advance(self, stage: Stage, work: int) -> None:
        """See :class:`Observer`."""

    def end(self, stage: Stage, label: str, seconds: float, note: str) -> None:
        """See :class:`Observer`."""

    def drop(self, stage: Stage, work: int) -> None:
        """See :class:`Observer`."""

    def warn(self, message: str) -> None:
        """See :class:`Observer`."""
