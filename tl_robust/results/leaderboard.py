"""Cells as files that can be shared: one JSON a cell, described by ``leaderboard.schema.json`` beside this file.

What is read back was written by others: nothing in it is executed, and what does not fit the schema is refused.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tl_robust.errors import ResultsError
from tl_robust.files import write_atomically
from tl_robust.metrics import METRICS
from tl_robust.results import strangers, table
from tl_robust.results.means import mean_rows
from tl_robust.results.names import grouped
from tl_robust.results.packing import pack, unpack
from tl_robust.results.shared import SCHEMA, as_json, refuse, valid
from tl_robust.results.table import Row
from tl_robust.threats.base import THREATS
from tl_robust.types import Cell, Curve, Record, Result, Verdict

PARTS = ("value", "low", "high", "n")
SLACK = 1e-9  # rounding may put a value so far outside its interval


@dataclass(frozen=True)
class Origin:
    """What a result does not know of its cell.

    Attributes:
        position: In the tables of its bench, from 0.
        beside: Keys of the records beside the outcome, by name; empty where the bench has none.
        protocol: Digest of all that makes the number, without seeds: 16 hex digits.
        source_images: Training images of the source; None for a public checkpoint.
        fingerprint: Of the test images.
    """

    position: int
    beside: Mapping[str, str]
    protocol: str
    source_images: int | None
    fingerprint: str


@dataclass(frozen=True)
class Entry:
    """One file that was read.

    Attributes:
        path: The file.
        content: What it says.
        cell: Coordinates.
        curves: Stated metrics that are known here, by name.
        verdict: Trust.
        doubts: Trust in metrics where it differs, by name.
        result: With the outcomes, where the file has them.
    """

    path: Path
    content: Mapping[str, Any]
    cell: Cell
    curves: Mapping[str, Curve]
    verdict: Verdict
    doubts: Mapping[str, Verdict]
    result: Result[Any] | None

    @property
    def key(self) -> str:
        """The cell's key."""
        return str(self.content["key"])

    @property
    def axis(self) -> str:
        """Name of the axis that its curves run over."""
        return str(self.content["axis"])

    def trust(self, metric: str) -> Verdict:
        """Trust in one metric."""
        return self.doubts.get(metric, self.verdict)

    @property
    def unknown(self) -> set[str]:
        """Names of the stated metrics that are not registered here."""
        return self.content["metrics"].keys() - self.curves.keys()


@dataclass(frozen=True)
class Board:
    """Cells of one or several folders, each once, in the order of their benches."""

    entries: tuple[Entry, ...]

    @property
    def results(self) -> list[Result[Any]]:
        """Results of the cells whose files came with samples."""
        return [entry.result for entry in self.entries if entry.result]

    @property
    def rows(self) -> list[Row]:
        """All rows, as ``table.csv`` has them."""
        return [
            row
            for entry in self.entries
            for metric, curve in entry.curves.items()
            for row in table.curve_rows(entry.cell, metric, curve, entry.trust(metric).level, entry.key, entry.axis)
        ]

    @cached_property
    def summary(self) -> list[Row]:
        """Means over seeds: from the outcomes where all seeds have them, else from the stated numbers."""
        means: list[Row] = []
        for group in _by_coordinates(self.entries).values():
            results = [entry.result for entry in group if entry.result]
            means += table.summary(results) if len(results) == len(group) else mean_rows(Board(tuple(group)).rows)
        return means


def _by_coordinates(entries: Iterable[Entry]) -> dict[Cell, list[Entry]]:
    return grouped(entries, lambda entry: replace(entry.cell, seed=-1))


def write(folder: Path, cells: Iterable[tuple[Result[Any], Origin]], samples: bool) -> list[Path]:
    """Write one file a cell.

    Args:
        folder: Where.
        cells: Results, and what they do not know of their cells.
        samples: Also the classes of every sample.

    Returns:
        The files.

    Raises:
        ResultsError: The folder cannot be written.
    """
    contents = [_content(result, origin, samples) for result, origin in cells]
    for content in contents:
        if fault := strangers.fault(as_json(content)):
            raise ResultsError(f"cell {content['key']} cannot be shared: {fault}; give it another name.")
    paths = [folder / f"{content['key']}.json" for content in contents]
    for path, content in zip(paths, contents, strict=True):
        write_atomically(path, (json.dumps(as_json(content), indent=1, allow_nan=False) + "\n").encode())
    return paths


def _content(result: Result[Any], origin: Origin, samples: bool) -> dict[str, Any]:
    keys = {name: key for name, key in origin.beside.items() if name != "white"}
    others = {"beside": keys} if keys else {}  # files of earlier versions have no such key
    content = {
        "schema": SCHEMA,
        "key": result.key,
        "place": origin.position,
        "cell": asdict(result.cell),
        "protocol": origin.protocol,
        "axis": result.outcome.AXIS,
        "eps": result.outcome.x.tolist(),
        "metrics": {
            name: {
                "unit": METRICS[name].unit,
                "whole_curve": METRICS[name].summary,
                **{part: getattr(curve, part).tolist() for part in PARTS},
            }
            for name, curve in result.curves.items()
        },
        "trust": asdict(result.verdict),
        "data": {
            "source_images": origin.source_images,
            "target_images": result.cell.target_images,
            "test_images": len(result.outcome.sample_id),
            "test_fingerprint": origin.fingerprint,
        },
        "provenance": {**result.provenance, "white": origin.beside.get("white"), **others},
    }
    if result.doubts:
        content["doubts"] = {name: asdict(doubt) for name, doubt in result.doubts.items()}
    if samples:
        beside = {name: pack(record) for name, record in result.beside.items()}
        content["samples"] = {"outcome": pack(result.outcome), "white": None} | beside
    return content


def read(paths: Sequence[Path]) -> Board:
    """Read files, and all ``*.json`` of folders; what is there twice with the same content counts once.

    Args:
        paths: Files and folders.

    Raises:
        ResultsError: A file is damaged, foreign or of a newer version, its numbers are not those of its samples, or
            two files contradict each other.
    """
    inside = [sorted(path.glob("*.json")) if path.is_dir() else [path] for path in paths]
    if not any(inside):
        raise ResultsError(
            f"no leaderboard file in {', '.join(map(str, paths))}: expected *.json, as tl-robust export writes them."
        )
    entries: dict[str, Entry] = {}
    for entry in (_entry(path) for path in chain.from_iterable(inside)):
        other = entries.setdefault(entry.key, entry)
        if _without_samples(other) != _without_samples(entry):
            raise ResultsError(
                f"{other.path} and {entry.path} have the same cell {entry.key} with other content: keep one of them."
            )
        if entry.result and not other.result:
            entries[entry.key] = entry
    _check_coordinates(entries.values())
    return Board(
        tuple(sorted(entries.values(), key=lambda entry: (entry.cell.bench, entry.content["place"], entry.key)))
    )


def _without_samples(entry: Entry) -> dict[str, Any]:
    return {name: value for name, value in entry.content.items() if name != "samples"}


def _check_coordinates(entries: Iterable[Entry]) -> None:
    """Cells of the same coordinates differ in their seeds alone."""
    for group in _by_coordinates(entries).values():
        seeds: dict[int, Entry] = {}
        for entry in group:
            other = seeds.setdefault(entry.cell.seed, entry)
            if other is not entry or entry.content["protocol"] != group[0].content["protocol"]:
                first = other if other is not entry else group[0]
                raise ResultsError(
                    f"{first.path} and {entry.path} have the same coordinates ({entry.cell}) but were made with other "
                    "settings, data or versions: tables could not tell them apart. Export one of them from a bench of "
                    "another name."
                )


def _entry(path: Path) -> Entry:
    content = valid(path)
    cell, eps = Cell(**content["cell"]), torch.tensor(content["eps"], dtype=torch.float64)
    curves = {
        name: _curve(path, name, item, eps) for name, item in content["metrics"].items() if name in METRICS.names()
    }
    verdict = _verdict(content["trust"])
    doubts = {name: _verdict(trust) for name, trust in content.get("doubts", {}).items()}
    provenance = content["provenance"]
    beside = provenance.get("beside", {}) | ({"white": provenance["white"]} if provenance["white"] else {})
    if cell.key(provenance["outcome"], beside) != content["key"]:
        refuse(path, "its key is not that of its coordinates and outcomes: it was changed after export")
    result, samples = None, content.get("samples")
    if samples:
        if cell.threat not in THREATS:
            refuse(path, f"its threat {cell.threat!r} is not known here: add the plugin that it was made with")
        kind = THREATS[cell.threat].record
        records = {name: _record(path, content, kind, packed) for name, packed in samples.items() if packed}
        outcome = records.pop("outcome")
        _check_samples(path, content, outcome, records)
        again = {name: _again(path, name, curve, outcome, records) for name, curve in curves.items()}
        result = Result(content["key"], cell, outcome, records, again, verdict, provenance, doubts)
    return Entry(path, content, cell, curves, verdict, doubts, result)


def _verdict(trust: Mapping[str, Any]) -> Verdict:
    return Verdict(trust["level"], tuple(trust["reasons"]))


def _curve(path: Path, name: str, item: Mapping[str, Any], eps: Tensor) -> Curve:
    size = eps[:0] if item["whole_curve"] else eps
    parts = {
        part: torch.tensor([math.nan if x is None else x for x in item[part]], dtype=torch.float64) for part in PARTS
    }
    if (item["unit"], item["whole_curve"]) != (METRICS[name].unit, METRICS[name].summary):
        refuse(path, f"{name} is another metric here, in {METRICS[name].unit}: add the plugin that it was made with")
    if any(len(part) != (len(size) or 1) for part in parts.values()):
        refuse(path, f"metrics.{name} must have {len(size) or 1} values in each list")
    least, most = METRICS[name].bounds
    if any(bool(((part < least) | (part > most)).any()) for part in list(parts.values())[:3]):
        refuse(path, f"metrics.{name} is a share and must be in [{least:g}, {most:g}]")
    low, value, high = (parts[part] for part in ("low", "value", "high"))
    outside = (value < low - SLACK) | (value > high + SLACK)  # the bootstrap of a ratio may leave its value outside
    if bool((low > high).any()) or (item["unit"] == "share" and not item["whole_curve"] and bool(outside.any())):
        refuse(path, f"metrics.{name} must have low <= value <= high")
    return Curve(size, **(parts | {"n": parts["n"].long()}))


def _record(path: Path, content: Mapping[str, Any], kind: type[Record], packed: Mapping[str, Any]) -> Record:
    try:
        record = unpack(kind, packed)
    except ValueError as error:
        refuse(path, f"its samples are damaged or of a newer version ({error})")
    return record


def _check_samples(path: Path, content: Mapping[str, Any], outcome: Record, beside: Mapping[str, Record]) -> None:
    """Records beside the outcome are of its samples, and of its values of the axis or of one of their own."""
    if len(outcome.sample_id) != content["data"]["test_images"] or outcome.x.tolist() != content["eps"]:
        refuse(path, "its samples are not those of its eps and test images")
    for name, record in beside.items():
        alike = len(record.x) == 1 or torch.equal(record.x, outcome.x)
        if not (alike and torch.equal(record.sample_id, outcome.sample_id)):
            refuse(path, f"samples.{name} are not those of samples.outcome")


def _again(path: Path, name: str, stated: Curve, outcome: Record, beside: Mapping[str, Record]) -> Curve:
    """The metric of the samples; intervals by bootstrap may differ a little with the release of torch."""
    metric = METRICS[name]
    if not isinstance(outcome, metric.of):
        refuse(path, f"{name} is here no metric of its threat")
    missing = [other for other in metric.beside if other not in beside]
    if missing and not metric.alone:
        refuse(path, f"metrics.{name} needs samples.{missing[0]}")
    try:
        computed = metric.curve(outcome, beside)
    except (ValueError, IndexError, RuntimeError) as error:
        refuse(path, f"metrics.{name} cannot be computed from its samples ({str(error).splitlines()[0]})")
    slack = {"value": 1e-6, "n": 0.0, "low": None, "high": None}
    width = (stated.high - stated.low).abs().nan_to_num(0.0)
    for part, limit in slack.items():
        before, now = getattr(stated, part), getattr(computed, part)
        allowed = 1e-6 + 0.2 * width if limit is None else torch.full_like(width, limit)
        wrong = ((before - now).abs() > allowed) | (before.isnan() != now.isnan())
        if bool(wrong.any()):
            index = int(wrong.int().argmax())
            refuse(
                path,
                f"{part} {index + 1} of metrics.{name} is stated as {float(before[index]):.6g}, but its samples give "
                f"{float(now[index]):.6g}: it was changed after export, or made by another version of the metric",
            )
    return computed
