"""Whether the report's numbers are to be believed, and where each came from."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tl_robust.nodes.kind import KINDS
from tl_robust.results.faces import face_of
from tl_robust.results.names import MARKS, Names, grouped
from tl_robust.sinks.report.blocks import Block, Code, Fold, Table, Text
from tl_robust.trust.base import worst
from tl_robust.types import Result


def records(title: str, items: Sequence[Mapping[str, Any]], brief: bool = False, cards: bool = False) -> Table:
    """A table of mappings; their keys are the columns."""
    head = list(dict.fromkeys(name for item in items for name in item))
    return Table(title, head, [[_text(item.get(name)) for name in head] for item in items], brief=brief, cards=cards)


def failed(failures: Sequence[Mapping[str, str]]) -> list[Block]:
    """What failed and why, with the traces folded away."""
    if not failures:
        return []
    brief = [{name: value for name, value in item.items() if name != "trace"} for item in failures]
    traces = [Code(item["trace"]) for item in failures if item.get("trace")]
    return [records("What failed", brief, brief=True, cards=True), *([Fold("Traces", traces)] if traces else [])]


def trust(results: Sequence[Result], names: Names) -> list[Block]:
    """How many cells passed the checks, and why the others did not."""
    if not results:
        return []
    levels = grouped(results, lambda result: result.verdict.level)
    counts = [f"{len(levels[level])} {mark}" for level, mark in MARKS.items() if level in levels]
    blocks: list[Block] = [Text(f"Of {len(results)} cells: {', '.join(counts)}.")]
    head = ("pair, attack", "view", "strategy", "seeds", "trust", "reasons")
    for metric in ("", *dict.fromkeys(name for result in results for name in result.doubts)):
        doubtful = [result for result in results if result.trust(metric).level != "green"]
        if metric:  # a number that rests on another record than the cell's own
            doubtful = [result for result in doubtful if metric in result.doubts]
        body = []
        for cell, members in grouped(doubtful, lambda result: replace(result.cell, seed=-1)).items():
            verdict = worst([result.trust(metric) for result in members])
            seeds = ", ".join(str(result.cell.seed) for result in members)
            place = names.group(cell), face_of(cell).side(cell.view), names.strategy(cell)
            body.append((*place, seeds, MARKS[verdict.level], " ".join(verdict.reasons)))
        title = f"Cells whose {metric} is not green" if metric else "Cells that are not green"
        blocks += [Table(title, head, body, names=3, brief=True, cards=True)] if body else []
    return blocks


def how_made(results: Sequence[Result], config_yaml: str) -> list[Block]:
    """The configuration, what all cells share, every model, and every cell with its keys."""
    blocks: list[Block] = [*fast_modes(results), *([Fold("Configuration", [Code(config_yaml)])] if config_yaml else [])]
    if not results:
        return blocks
    flat = [dict(_flat(result.provenance)) for result in results]
    fields = list(dict.fromkeys(name for item in flat for name in item))
    shared = {name: flat[0].get(name) for name in fields if len({item.get(name) for item in flat}) == 1}
    if shared:
        blocks.append(
            Table(
                "The same for all cells",
                ("what", "value"),
                [(k, v or "-") for k, v in shared.items()],
                brief=True,
                cards=True,
            )
        )
    models: dict[str, dict[str, Any]] = {}
    roles: dict[str, list[str]] = {}
    for role, model in (named for result in results for named in _models(result.provenance)):
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


def cost(seconds: Mapping[str, float]) -> list[Block]:
    """What the computing took, by stage."""
    total = sum(seconds.values())
    if not total:
        return []
    stages = {folder: f"{KINDS[folder].title}s" if folder in KINDS else folder for folder in seconds}
    body = [(stages[folder], f"{spent:.1f}", f"{spent / total:.1%}") for folder, spent in seconds.items()]
    note = "Seconds that were spent when each model and each attack was computed, summed over all processes and runs."
    return [
        Text(note),
        Table("Cost", ("stage", "seconds", "share"), [*body, ("all", f"{total:.1f}", "100.0%")], brief=True),
    ]


def fast_modes(results: Sequence[Result]) -> list[Block]:
    """Whether attacks ran in a fast mode, and what the comparison with full precision showed."""
    tried = [result.provenance for result in results if result.provenance.get("fast")]
    body = []
    for (modes, refused, gate), members in grouped(tried, _gate).items():
        used = f"refused: {refused}" if refused else "used"
        body.append((modes, used, *(gate or ("-",) * 4), str(len(members))))
    head = (
        "fast modes",
        "decision",
        "images compared",
        "accuracy differs by",
        "predictions differ",
        "allowed",
        "cells",
    )
    title = "Fast modes beside full precision: the largest differences at any eps"
    return [Table(title, head, body, brief=True)] if body else []


def _gate(item: Mapping[str, Any]) -> tuple[str, str, tuple[str, ...]]:
    gate = item.get("gate") or {}
    shares = (f"{gate[name]:.1%}" for name in ("accuracy", "predictions", "tolerance") if name in gate)
    return _text(item["fast"]), str(item.get("refused", "")), (str(gate["samples"]), *shares) if gate else ()


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
