"""One leaderboard file that was read: a cell as a submitter states it, and as its samples say it.

Nothing in a file is executed. What does not fit the schema is refused; stated numbers that are not those of the samples
are refused too, or named in the entry where a caller wants to show them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tl_robust.metrics import METRICS
from tl_robust.results.packing import unpack
from tl_robust.results.shared import refuse, valid
from tl_robust.threats.base import THREATS
from tl_robust.types import Cell, Curve, Record, Result, Verdict

PARTS = ("value", "low", "high", "n")
SLACK = 1e-9  # rounding may put a value so far outside its interval
NUMBERS = (
    "protocol",
    "axis",
    "eps",
    "metrics",
    "trust",
    "doubts",
    "data",
)  # what two who computed the same cell must agree on


@dataclass(frozen=True)
class Submitter:
    """Who computed a cell, as they call themselves; nobody checks it.

    Attributes:
        name: Of a person or group; empty where a file names nobody.
        contact: An address, as they wrote it.
        paper: A title or address, as they wrote it.
    """

    name: str = ""
    contact: str = ""
    paper: str = ""

    def stated(self) -> dict[str, str]:
        """What a file says of it: the fields that are not empty."""
        return {name: value for name, value in vars(self).items() if value}


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
        result: With the outcomes, where the file has them; its curves are those of the samples.
        wrong: Where the stated numbers are not those of the samples, a sentence each; see :func:`read_entry`.
        twins: Files of the same cell by others, who say the same numbers.
    """

    path: Path
    content: Mapping[str, Any]
    cell: Cell
    curves: Mapping[str, Curve]
    verdict: Verdict
    doubts: Mapping[str, Verdict]
    result: Result[Any] | None
    wrong: tuple[str, ...] = ()
    twins: tuple[Entry, ...] = ()

    @property
    def key(self) -> str:
        """The cell's key."""
        return str(self.content["key"])

    @property
    def axis(self) -> str:
        """Name of the axis that its curves run over."""
        return str(self.content["axis"])

    @property
    def submitter(self) -> Submitter:
        """Who computed it."""
        return Submitter(**self.content.get("submitter", {}))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all who submitted it, each once, in the order of reading."""
        return tuple(dict.fromkeys(entry.submitter.name for entry in (self, *self.twins)))

    def trust(self, metric: str) -> Verdict:
        """Trust in one metric."""
        return self.doubts.get(metric, self.verdict)

    @property
    def unknown(self) -> set[str]:
        """Names of the stated metrics that are not registered here."""
        return self.content["metrics"].keys() - self.curves.keys()

    def same_file(self, other: Entry) -> bool:
        """Whether the files say the same but for samples, which one may lack."""
        return _without(self.content, "samples") == _without(other.content, "samples")

    def agrees(self, other: Entry) -> bool:
        """Whether both say the same numbers of the same cell, whatever they were computed on."""
        return self.key == other.key and all(self.content.get(name) == other.content.get(name) for name in NUMBERS)


def _without(content: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {part: value for part, value in content.items() if part != name}


def read_entry(path: Path, mark: bool = False) -> Entry:
    """Read one file.

    Args:
        path: The file.
        mark: Say in :attr:`Entry.wrong` where stated numbers are not those of the samples, in place of refusing it.

    Raises:
        ResultsError: It is damaged, foreign or of a newer version, or its numbers are not those of its samples.
    """
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
    result, samples, wrong = None, content.get("samples"), list[str]()
    if samples:
        if cell.threat not in THREATS:
            refuse(path, f"its threat {cell.threat!r} is not known here: add the plugin that it was made with")
        kind = THREATS[cell.threat].record
        records = {name: _record(path, content, kind, packed) for name, packed in samples.items() if packed}
        outcome = records.pop("outcome")
        _check_samples(path, content, outcome, records)
        again = {name: _again(path, name, curve, outcome, records) for name, curve in curves.items()}
        wrong = [fault for name, curve in curves.items() for fault in _departures(name, curve, again[name])]
        if wrong and not mark:
            refuse(path, f"{wrong[0]}: it was changed after export, or made by another version of the metric")
        result = Result(content["key"], cell, outcome, records, again, verdict, provenance, doubts)
    return Entry(path, content, cell, curves, verdict, doubts, result, tuple(wrong))


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
    """The metric of the samples."""
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
    return computed


def _departures(name: str, stated: Curve, computed: Curve) -> Iterator[str]:
    """Where stated numbers are not those of the samples; intervals may differ a little with the release of torch."""
    slack = {"value": 1e-6, "n": 0.0, "low": None, "high": None}
    width = (stated.high - stated.low).abs().nan_to_num(0.0)
    for part, limit in slack.items():
        before, now = getattr(stated, part), getattr(computed, part)
        allowed = 1e-6 + 0.2 * width if limit is None else torch.full_like(width, limit)
        wrong = ((before - now).abs() > allowed) | (before.isnan() != now.isnan())
        if bool(wrong.any()):
            index = int(wrong.int().argmax())
            yield (
                f"{part} {index + 1} of metrics.{name} is stated as {float(before[index]):.6g}, but its samples give "
                f"{float(now[index]):.6g}"
            )
