"""``leaderboard.html``: rows of several groups as one page that filters and sorts itself and opens without a network.

The table is whole in the HTML. The script, which the page allows by its digest alone, hides and orders its rows, and
writes what is shown as CSV from the same numbers, which stand beside the table as JSON.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from markupsafe import Markup

from tl_robust.files import write_atomically
from tl_robust.results.entry import Submitter
from tl_robust.results.faces import face_of
from tl_robust.results.leaderboard import Board
from tl_robust.results.names import MARKS, interval, measured, method, unit
from tl_robust.results.standings import Line, lines
from tl_robust.sinks.report import board_data, rendering
from tl_robust.sinks.report.board_data import place, short

AT_ONCE = 50  # rows that a browser lays out before it is asked for more
ADDRESS = re.compile(r"https://[a-z0-9.-]+\.[a-z]{2,}(/[A-Za-z0-9._~/?=&%+,;:()-]*)?")
BASES = {
    "samples": "interval from samples",
    "approximate": "without samples: interval approximate",
    "stated": "without samples: interval as stated",
}


def write(board: Board, path: Path, title: str, program: str) -> None:
    """Write the page.

    Args:
        board: What was read.
        path: Of the page.
        title: Its name.
        program: Version and commit of this program.

    Raises:
        ResultsError: It cannot be written.
    """
    shown = lines(board)
    data = board_data.data(shown)
    context = {
        "title": short(title),
        "facts": list(_facts(board, shown, program)),
        "rows": [_row(line, number < AT_ONCE) for number, line in enumerate(shown)],
        "filters": board_data.filters(data),
        "data": data,
        "script": Markup(_script()),  # ours, and what the digest is of
        "digest": base64.b64encode(hashlib.sha256(_script().encode()).digest()).decode(),
        "at_once": AT_ONCE,
    }
    write_atomically(path, rendering.page(context, "leaderboard.html.j2").encode())


@cache
def _script() -> str:
    return files("tl_robust.sinks.report").joinpath("templates", "leaderboard.js").read_text("utf-8")


def _facts(board: Board, shown: list[Line], program: str) -> Iterator[str]:
    submitters = {name for entry in board.every for name in entry.names}
    named = len(submitters - {""})
    who = f"{named} submitter{'s' * (named != 1)}" + " and files that name nobody" * ("" in submitters)
    yield f"{len(shown)} rows from {len(board.every)} cells of {who}. Merged by {program or 'tl_robust'}."
    if disputed := sum(bool(line.disputes) for line in shown):
        yield f"{disputed} rows are disputed: another submitter has other numbers at the same coordinates; both stand."
    if wrong := sum(bool(line.wrong) for line in shown):
        yield f"{wrong} rows state numbers that their own samples do not give: they are struck out and never ranked."


def _row(line: Line, at_once: bool) -> dict[str, Any]:
    cell, row, face = line.cell, line.row, face_of(line.cell)
    common = [f"common start {cell.common}"] * bool(cell.common)
    return {
        "classes": " ".join(["on"] * at_once + [line.verdict.level] + ["outcast"] * line.outcast),
        "pair": f"{short(cell.source)} → {short(cell.target)}",
        "network": ", ".join([short(cell.network), f"{cell.target_images} target images"]),
        "threat": short(cell.threat),
        "attack": short(method(cell)),
        "view": ", ".join(filter(None, [short(face.side(cell.view)), place(line)])),
        "rank": line.rank,
        "why": line.why,
        "strategy": ", ".join(map(short, [cell.strategy, *common])),
        "defense": short(cell.defense),
        "value": measured(row.value, _unit(line)),
        "ends": interval(row).partition(" [")[1] + interval(row).partition(" [")[2],
        "metric": row.metric.replace("_", " "),
        "struck": line.outcast,
        "beside": [(name, measured(other.value, _unit(line, other.metric))) for name, other in line.beside.items()],
        "n": f"{row.n:,}",
        "seeds": _seeds(line),
        "basis": BASES[line.basis] if line.samples in (0, len(line.seeds)) else _some(line),
        "mark": MARKS[line.verdict.level],
        "reasons": list(line.verdict.reasons),
        "disputes": list(line.disputes),
        "wrong": list(line.wrong),
        "submitters": [_submitter(submitter) for submitter in line.submitters],
        "folders": list(dict.fromkeys(short(file.path.parent.name) for file in line.share.files)),
        "made": board_data.made(line),
    }


def _unit(line: Line, metric: str = "") -> str:
    return unit(metric or line.row.metric)


def _some(line: Line) -> str:
    return f"{line.samples} of {len(line.seeds)} cells with samples: interval approximate"


def _seeds(line: Line) -> str:
    listed = ", ".join(map(str, line.seeds[:5])) + ", ..." * (len(line.seeds) > 5)
    if len(line.seeds) > 1:
        return f"{len(line.seeds)} seeds ({listed})"
    return f"1 seed ({listed})" + ": of this training alone" * (face_of(line.cell).units == "seeds")


def _submitter(submitter: Submitter) -> Mapping[str, str]:
    """As it is shown: an address is a link where it is nothing but a plain one of https."""
    link = submitter.paper if ADDRESS.fullmatch(submitter.paper) else ""
    stated = {name: short(getattr(submitter, name)) for name in ("name", "contact", "paper")}
    return stated | {"name": stated["name"] or "not named", "link": link}
