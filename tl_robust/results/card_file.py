"""``card.json``: defense cards as other programs read them, described by ``card.schema.json`` beside this file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tl_robust.files import write_atomically
from tl_robust.results.card import Card, Entry, Line
from tl_robust.results.difference import made
from tl_robust.results.shared import as_json
from tl_robust.types import Result

FAMILY, VERSION = "tl_robust.card", 1
SCHEMA = f"{FAMILY}/{VERSION}"
DESCRIBED = ("name", "title", "means", "unit", "better")


def content(cards: Sequence[Card], results: Sequence[Result[Any]]) -> dict[str, Any]:
    """Cards in the form of JSON: null stands for a number that was not measured.

    Args:
        cards: At least one.
        results: What they were made of; their benches, versions, devices and commits are said.
    """
    return {
        "schema": SCHEMA,
        "benches": list(dict.fromkeys(result.cell.bench for result in results)),
        "made": made([result.provenance for result in results]),
        "columns": [{name: getattr(column, name) for name in DESCRIBED} for column in cards[0].columns],
        "cards": [_card(card) for card in cards],
    }


def write(path: Path, cards: Sequence[Card], results: Sequence[Result[Any]]) -> None:
    """Write ``card.json``; see :func:`content`.

    Raises:
        ResultsError: The file cannot be written.
    """
    text = json.dumps(content(cards, results), indent=1, allow_nan=False, ensure_ascii=False)
    write_atomically(path, f"{text}\n".encode(errors="backslashreplace"))


def _card(card: Card) -> dict[str, Any]:
    names = ("source", "target", "network", "strategy", "common", "eps", "notes")
    return as_json({name: getattr(card, name) for name in names} | {"lines": [_line(line) for line in card.lines]})


def _line(line: Line) -> dict[str, Any]:
    entries = {name: _entry(entry) for name, entry in line.entries.items()}
    return {"defense": line.defense, "trust": asdict(line.trust), "known": line.known, "entries": entries}


def _entry(entry: Entry) -> dict[str, Any]:
    return {"change" if name == "effect" else name: value for name, value in asdict(entry).items()}
