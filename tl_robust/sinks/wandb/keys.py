"""Names under which the runs of W&B keep what they show: places to group by, and values of the axis and views."""

from __future__ import annotations

import re

from tl_robust.results.names import method
from tl_robust.types import Cell, Face


def places(cell: Cell) -> dict[str, str]:
    """What runs are grouped by, beyond the coordinates of a cell; every run has each of these keys.

    Returns:
        ``threat``; ``pair``; ``start``, the strategy with its common start; ``curve``, all that tells the cells of one
        view apart but the seed; ``line``, all that tells the cells of all benches apart but the seed.
    """
    start = cell.strategy + (f" ({cell.common})" if cell.common else "")
    defended = "" if cell.defense in ("", "none") else f", defense {cell.defense}"
    where = f"{cell.source} to {cell.target} ({cell.target_images} images), {cell.network}, {start}"
    curve = f"{where}, {method(cell)}{defended}"
    own = {"threat": cell.threat, "pair": f"{cell.source}-{cell.target}", "start": start, "curve": curve}
    return {**own, "line": f"{cell.bench}, {cell.threat}, {cell.view}: {curve}"}


def axis_key(face: Face, x: float) -> str:
    """A value of the axis as a part of a key: W&B would take a dot for nesting and a slash for a section.

    >>> from tl_robust.results.faces import FACES
    >>> axis_key(FACES["evasion"], 8 / 255), axis_key(FACES["evasion"], 0.0), axis_key(FACES["evasion"], 0.125)
    ('8_255', '0', '0p125')
    """
    return re.sub(r"[^\w-]+", "_", face.axis_text(x).replace(".", "p")).strip("_")


def side_key(face: Face, view: str) -> str:
    """The key of the headline metric in one view: ``accuracy/black_box``."""
    return f"{face.word}/{face.side(view).replace(' ', '_')}"
