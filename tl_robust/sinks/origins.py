"""Whether the report's numbers are to be believed, and where each came from."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tl_robust.sinks.blocks import MARKS, Block, Code, Fold, Names, Table, Text, grouped
from tl_robust.trust.base import worst
from tl_robust.types import Result


def records(title: str, items: Sequence[Mapping[str, Any]], brief: bool = False) -> Table:
    """A table of mappings; their keys are the columns."""
    head = list(dict.fromkeys(name for item in items for name in item))
    return Table(title, head, [[_text(item.get(name)) for name in head] for item in items], brief=brief)


def trust(results: Sequence[Result], names: Names) -> list[Block]:
    """How many cells passed the checks, and why the others did not."""
    if not results:
        return []
    levels = grouped(results, lambda result: result.verdict.level)
    counts = [f"{len(levels[level])} {mark}" for level, mark in MARKS.items() if level in levels]
    blocks: list[Block] = [Text(f"Of {len(results)} cells: {', '.join(counts)}.")]
    doubtful = [result for result in results if result.verdict.level != "green"]
    body = []
    for cell, found in grouped(doubtful, lambda result: replace(result.cell, seed=-1)).items():
        verdict = worst([result.verdict for result in found])
        seeds = ", ".join(str(result.cell.seed) for result in found)
        place = names.group(cell), f"{cell.view} box", names.strategy(cell)
        body.append((*place, seeds, MARKS[verdict.level], " ".join(verdict.reasons)))
    head = ("pair, attack", "view", "strategy", "seeds", "trust", "reasons")
    return [*blocks, Table("Cells that are not green", head, body, names=3, brief=True)] if body else blocks


def made(results: Sequence[Result], config_yaml: str) -> list[Block]:
    """The configuration, what all cells share, every model, and every cell with its keys."""
    blocks: list[Block] = [Fold("Configuration", [Code(config_yaml)])] if config_yaml else []
    if not results:
        return blocks
    flat = [dict(_flat(result.provenance)) for result in results]
    fields = list(dict.fromkeys(name for item in flat for name in item))
    shared = {name: flat[0].get(name) for name in fields if len({item.get(name) for item in flat}) == 1}
    if shared:
        blocks.append(
            Table("The same for all cells", ("what", "value"), [(k, v or "-") for k, v in shared.items()], brief=True)
        )
    models: dict[str, dict[str, Any]] = {}
    roles: dict[str, list[str]] = {}
    for role, model in (found for result in results for found in _models(result.provenance)):
        models.setdefault(str(model["key"]), {}).update(model)
        roles.setdefault(str(model["key"]), []).append(role)
    rows = [{**model, "used as": ", ".join(sorted(set(roles[key])))} for key, model in models.items()]
    if rows:
        blocks.append(Fold(f"Lineage: {len(rows)} models", [records("Keys by their first 12 characters", rows)]))
    cells = [
        {"cell": str(result.cell), "trust": MARKS[result.verdict.level], "key": result.key}
        | {name: value for name, value in item.items() if name not in shared}
        for result, item in zip(results, flat, strict=True)
    ]
    blocks.append(Fold(f"All {len(cells)} cells", [records("Keys by their first 12 characters", cells)]))
    return blocks


def _models(item: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Mappings with a key, at any depth, and the name they stand under."""
    for name, value in item.items():
        if isinstance(value, Mapping):
            if "key" in value:
                yield name, value
            yield from _models(value)


def _flat(item: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Names with dots and values as text; a model is its key."""
    for name, value in item.items():
        if isinstance(value, Mapping) and "key" not in value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, _text(value)


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return _text(value["key"]) if "key" in value else ", ".join(f"{k}={_text(v)}" for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_text, value))
    text = "-" if value is None or value == "" else str(value)
    return text[:12] if re.fullmatch(r"[0-9a-f]{40,}", text) else text
