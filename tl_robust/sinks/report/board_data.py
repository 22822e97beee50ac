"""The numbers of a leaderboard as its script reads them: what filters ask, what columns sort by, and the CSV.

Texts stand once and are named by their place, since most of them are those of many rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tl_robust.results.faces import face_of
from tl_robust.results.standings import Line
from tl_robust.results.table import defused
from tl_robust.text import plain
from tl_robust.trust.base import LEVELS

LONG = 80  # letters of a name that are shown
FILTERS = {
    "threat": "Threat", "pair": "Pair", "network": "Network", "strategy": "Strategy", "defense": "Defense",
    "attack": "Attack", "view": "View", "place": "At", "submitter": "Submitter", "folder": "Folder", "trust": "Trust",
    "samples": "Samples",
}  # fmt: skip
HIDDEN = ("question", "outcast", "level", "pair", "place", "name")  # for the page, and in no CSV


def short(text: str) -> str:
    """A name of a stranger as it is shown: on one line, and not endless.

    >>> short("a" * 100)[-12:], short("plain")
    ('aaaaaaaaa...', 'plain')
    """
    text = plain(text)
    return text if len(text) <= LONG else f"{text[: LONG - 3]}..."


def place(line: Line) -> str:
    """Where on its axis a row is read: ``eps 8/255``; empty for a whole curve."""
    face, row = face_of(line.cell), line.row
    return "" if row.eps is None else f"{face.place or row.axis} {face.axis_text(row.eps)}"


def brief_commit(commit: str) -> str:
    """A commit in 12 digits, which still says whether files had changed since.

    >>> brief_commit("0123456789abcdef-dirty"), brief_commit("")
    ('0123456789ab-dirty', '')
    """
    digits, _, state = commit.partition("-")
    return digits[:12] + f"-{state}" * bool(state)


def made(line: Line) -> Mapping[str, list[str]]:
    """By what a row was computed: in short, and all versions."""
    brief, whole = list[str](), list[str]()
    for file in line.share.files:
        made = file.content["provenance"]
        versions = made["versions"]
        parts = [
            f"tl_robust {versions.get('tl_robust', 'of an unknown version')}",
            made["device"],
            brief_commit(made["commit"]),
        ]
        brief.append(", ".join(short(part) for part in parts if part))
        known = ", ".join(f"{short(name)} {short(value)}" for name, value in sorted(versions.items()))
        whole.append(f"Commit {short(made['commit']) or 'unknown'}; {known or 'versions unknown'}.")
    return {"brief": list(dict.fromkeys(brief)), "whole": list(dict.fromkeys(whole))}


def data(lines: Sequence[Line]) -> dict[str, Any]:
    """``columns`` by name (true: of texts), ``texts``, ``rows`` of numbers or places of texts, ``hidden`` columns."""
    places: dict[str, int] = {}
    questions: dict[tuple[Any, ...], int] = {}

    def packed(value: object) -> object:
        if isinstance(value, str):
            return places.setdefault(plain(value), len(places))
        if isinstance(value, list):
            return [packed(item) for item in value]
        return None if isinstance(value, float) and not math.isfinite(value) else value

    rows, columns = list[Any](), dict[str, bool]()
    for line in lines:
        fields = _fields(line, questions.setdefault(line.question, len(questions)))
        columns = {name: isinstance(value, str | list) for name, value in fields.items()}
        rows.append([packed(value) for value in fields.values()])
    texts = list(places)
    risky = [place for place, text in enumerate(texts) if defused(text) != text]
    return {
        "columns": columns,
        "texts": texts,
        "rows": rows,
        "hidden": HIDDEN,
        "filters": list(FILTERS),
        "risky": risky,
    }


def _fields(line: Line, question: int) -> dict[str, Any]:
    cell, row, rank = line.cell, line.row, line.rank
    samples = "all" if line.samples == len(line.seeds) else "some" if line.samples else "none"
    built = made(line)
    return {
        "question": question,
        "outcast": int(line.outcast),
        "rank": rank.first if rank else None,
        "rank_at_worst": rank.last if rank else None,
        "ranked": rank.of if rank else None,
        "no_rank_since": line.why,
        "threat": cell.threat,
        "pair": f"{cell.source} → {cell.target}",
        "source": cell.source,
        "target": cell.target,
        "network": cell.network,
        "target_images": cell.target_images,
        "strategy": cell.strategy,
        "common": cell.common,
        "defense": cell.defense,
        "name": f"{cell.strategy} {cell.defense}",
        "attack": cell.attack,
        "norm": cell.norm,
        "view": cell.view,
        "axis": row.axis,
        "x": row.eps,
        "place": place(line),
        "metric": row.metric,
        "value": row.value,
        "low": row.low,
        "high": row.high,
        "interval": line.basis,
        "n": row.n,
        "seed_count": len(line.seeds),
        "seeds": " ".join(map(str, line.seeds)),
        "samples": samples,
        "trust": line.verdict.level,
        "level": LEVELS.index(line.verdict.level),
        "reasons": " ".join(line.verdict.reasons),
        "disputes": " ".join(line.disputes),
        "wrong": " ".join(line.wrong),
        "submitter": [owner or "not named" for owner in line.share.owners],
        "contact": "; ".join(item.contact for item in line.submitters if item.contact),
        "paper": "; ".join(item.paper for item in line.submitters if item.paper),
        "folder": list(dict.fromkeys(file.path.parent.name for file in line.share.files)),
        "computed_by": "; ".join(built["brief"]),
        "bench": cell.bench,
        "test_fingerprint": line.share.entries[0].content["data"]["test_fingerprint"],
    }


def filters(packed: Mapping[str, Any]) -> list[tuple[str, str, list[tuple[int, str]]]]:
    """What a reader may choose from: name and title of a column, and its texts by their places."""
    return [(name, title, list(_choices(packed, name))) for name, title in FILTERS.items()]


def _choices(packed: Mapping[str, Any], name: str) -> Iterator[tuple[int, str]]:
    column = list(packed["columns"]).index(name) if packed["columns"] else 0
    values = (row[column] for row in packed["rows"])
    places = {place for value in values for place in (value if isinstance(value, list) else [value])}
    for place in sorted(places, key=lambda place: packed["texts"][place]):
        yield place, short(packed["texts"][place]) or "none"
