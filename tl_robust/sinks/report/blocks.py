"""What a section of the report is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tl_robust.results.table import Row


@dataclass(frozen=True)
class Text:
    """A paragraph; ``heading`` stands above it."""

    text: str
    heading: str = ""


@dataclass(frozen=True)
class Points:
    """Sentences, one below the other."""

    items: Sequence[str]


@dataclass(frozen=True)
class Why:
    """A cell whose reasons the page folds away."""

    text: str
    more: str


@dataclass(frozen=True)
class Table:
    """A table; the first ``names`` columns are headings of their row.

    Attributes:
        title: Caption.
        head: Column names.
        body: Cells as they read.
        names: How many leading columns are names.
        brief: Also in ``report.md``.
        cards: On a phone each row is a card, so that what it says in words is read without scrolling sideways.
    """

    title: str
    head: Sequence[str]
    body: Sequence[Sequence[str | Why]]
    names: int = 1
    brief: bool = False
    cards: bool = False


@dataclass(frozen=True)
class Panels:
    """Charts side by side: ``(title, metric, rows)``."""

    panels: Sequence[tuple[str, str, Sequence[Row]]]


@dataclass(frozen=True)
class Code:
    """Text as it stands; not in ``report.md``."""

    text: str


@dataclass(frozen=True)
class Markup:
    """HTML as it stands, names in it escaped; not in ``report.md``."""

    html: str


@dataclass(frozen=True)
class Fold:
    """Blocks that the page folds away under a title."""

    title: str
    blocks: Sequence[Text | Points | Table | Code | Markup]


Block = Text | Points | Table | Panels | Code | Markup | Fold
