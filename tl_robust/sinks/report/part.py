"""What the sections of one threat are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tl_robust.results.names import Names
from tl_robust.results.table import Row
from tl_robust.types import Face, Pictures, Result


@dataclass(frozen=True)
class Part:
    """What is known of one threat of a bench.

    Attributes:
        face: How the threat reads.
        results: Its single cells.
        rows: Its means over seeds.
        pictures: Images by key of an outcome.
        names: How cells are named.
    """

    face: Face
    results: Sequence[Result[Any]]
    rows: Sequence[Row]
    pictures: Mapping[str, Pictures]
    names: Names
