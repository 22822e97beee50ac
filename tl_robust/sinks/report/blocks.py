"""What a section of the report is made of. How each block looks is written in ``templates/blocks.html.j2``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from tl_robust.results.table import Row
from tl_robust.types import Face


@dataclass(frozen=True)
class Text:
    """A paragraph; ``heading`` stands above it."""

    kind: ClassVar = "text"
    text: str
    heading: str = ""


@dataclass(frozen=True)
class Points:
    """Sentences, one below the other."""

    kind: ClassVar = "points"
    items: Sequence[str]


@dataclass(frozen=True)
class Why:
    """A cell of a table whose reasons the page folds away."""

    text: str
    more: str


@dataclass(frozen=True)
class Measured:
    """A cell of a table with a number, and below it what has changed.

    Attributes:
        value: The number with its unit, or the words in place of one.
        ends: Its interval; empty where there is none.
        change: What has changed, and its interval; empty where nothing is compared.
        decision: What the change says, as a mark and a word; empty where nothing is judged.
        trust: As a mark and a word, where the number is trusted less than fully.
    """

    value: str
    ends: str = ""
    change: tuple[str, ...] = ()
    decision: str = ""
    trust: str = ""

    @property
    def text(self) -> str:
        """All of it on one line."""
        number = " ".join(filter(None, (self.value, self.ends, self.trust)))
        return ", ".join(filter(None, (number, " ".join((*self.change, self.decision)).strip())))


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

    kind: ClassVar = "table"
    title: str
    head: Sequence[str]
    body: Sequence[Sequence[str | Why | Measured]]
    names: int = 1
    brief: bool = False
    cards: bool = False

    @property
    def measures(self) -> bool:
        """Whether some cells have more than one line."""
        return any(isinstance(item, Measured) for row in self.body for item in row)


@dataclass(frozen=True)
class Panel:
    """A chart.

    Attributes:
        title: What stands above it.
        metric: Registered name.
        rows: Its lines.
        compared: The lines of another metric, drawn thin; none where there is none.
    """

    title: str
    metric: str
    rows: Sequence[Row]
    compared: Sequence[Row] = ()


@dataclass(frozen=True)
class Panels:
    """Charts side by side, of one threat.

    Attributes:
        face: How the threat reads.
        panels: The charts.
    """

    kind: ClassVar = "panels"
    face: Face
    panels: Sequence[Panel]


@dataclass(frozen=True)
class Drawing:
    """A chart that is not of rows of the table.

    Attributes:
        title: What stands above it.
        label: What it shows, for those who do not see it.
        lines: Of each line its strategy, then places, values, lower and upper ends.
        chart: All strategies of the page to a Vega-Lite chart that reads the data set ``points``.
    """

    title: str
    label: str
    lines: Sequence[tuple[str, Sequence[Sequence[float | None]]]]
    chart: Callable[[Sequence[str]], dict[str, Any]]


@dataclass(frozen=True)
class Drawings:
    """Such charts side by side; not in ``report.md``."""

    kind: ClassVar = "drawings"
    drawings: Sequence[Drawing]


@dataclass(frozen=True)
class Code:
    """Text as it stands; not in ``report.md``."""

    kind: ClassVar = "code"
    text: str


@dataclass(frozen=True)
class Field:
    """A field of a matrix.

    Attributes:
        number: In large letters.
        relation: In small ones below.
        hover: What is shown to a pointer.
        ground: Color of the field.
        ink: Color of its letters.
    """

    number: str
    relation: str
    hover: str
    ground: str
    ink: str


@dataclass(frozen=True)
class Matrix:
    """Fields colored by their share, from 0 to 100 %; not in ``report.md``.

    Attributes:
        label: Caption.
        columns: Headings.
        rows: Heading and fields of each row; None where nothing was run.
        scale: Colors from 0 to 100 %.
    """

    kind: ClassVar = "matrix"
    label: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Field | None]]]
    scale: Sequence[str]


@dataclass(frozen=True)
class Picture:
    """An image inside the page: PNG in base64, and what it shows in words."""

    data: str
    alt: str


@dataclass(frozen=True)
class Exhibit:
    """A field of a table of pictures: images, and below them who says which class, and whether that is right."""

    images: Sequence[Picture]
    answers: Sequence[tuple[str, str, bool]]


@dataclass(frozen=True)
class Gallery:
    """A table of pictures; not in ``report.md``.

    Attributes:
        caption: What all its pictures show.
        columns: Headings.
        rows: Heading (in lines) and fields of each row.
    """

    kind: ClassVar = "gallery"
    caption: str
    columns: Sequence[str]
    rows: Sequence[tuple[Sequence[str], Sequence[Exhibit]]]


@dataclass(frozen=True)
class Fold:
    """Blocks that the page folds away under a title.

    Attributes:
        title: What is seen of it.
        blocks: What is folded.
        aside: A page made for print leaves it out while it is folded.
    """

    kind: ClassVar = "fold"
    title: str
    blocks: Sequence[Text | Points | Table | Code | Gallery]
    aside: bool = False


Block = Text | Points | Table | Panels | Drawings | Code | Matrix | Gallery | Fold
