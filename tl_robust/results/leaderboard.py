"""Cells as files that can be shared: one JSON a cell, described by ``leaderboard.schema.json`` beside this file.

What is read back was written by others: nothing in it is executed, and what does not fit the schema is refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

from tl_robust.errors import ResultsError
from tl_robust.files import write_atomically
from tl_robust.metrics import METRICS
from tl_robust.results import strangers, table
from tl_robust.results.entry import PARTS, Entry, Submitter, read_entry
from tl_robust.results.means import mean_rows
from tl_robust.results.names import grouped
from tl_robust.results.packing import pack
from tl_robust.results.shared import LATER, SCHEMA, as_json
from tl_robust.results.table import Row
from tl_robust.text import first_few, plain
from tl_robust.types import Cell, Result


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
class Board:
    """Cells of one or several folders, each once, in the order of their benches.

    Attributes:
        entries: What tables and the report show. Of numbers that submitters dispute, those of the submitter read first.
        aside: What they leave out: disputed numbers of other submitters, and files whose samples say other numbers than
            they state.
    """

    entries: tuple[Entry, ...]
    aside: tuple[Entry, ...] = ()

    @property
    def every(self) -> tuple[Entry, ...]:
        """All that was read, each once."""
        return self.entries + self.aside

    @property
    def results(self) -> list[Result[Any]]:
        """Results of the cells whose files came with samples."""
        return [entry.result for entry in self.entries if entry.result]

    @property
    def rows(self) -> list[Row]:
        """All rows, as ``table.csv`` has them."""
        return [row for entry in self.entries for row in stated_rows(entry)]

    @cached_property
    def summary(self) -> list[Row]:
        """Means over seeds: from the outcomes where all seeds have them, else from the stated numbers."""
        means: list[Row] = []
        for group in by_coordinates(self.entries).values():
            results = [entry.result for entry in group if entry.result]
            means += table.summary(results) if len(results) == len(group) else mean_rows(Board(tuple(group)).rows)
        return means


def sentences(board: Board) -> Iterator[str]:
    """What a reader of the tables must know of what they leave out."""
    wrong = [entry for entry in board.aside if entry.wrong]
    for entry in wrong[:5]:
        yield f"{entry.path}: {entry.wrong[0]}. It was changed after export, or made by another version of the metric."
    if wrong:
        yield (
            f"{len(wrong)} of {len(board.every)} cells state numbers that are not those of their samples: "
            "leaderboard.html strikes them out, tables and report leave them out."
        )
    if others := [entry for entry in board.aside if not entry.wrong]:
        names = list(dict.fromkeys(plain(name or "nobody named")[:80] for entry in others for name in entry.names))
        yield (
            f"{len(others)} cells of {first_few(names, 5, count=True)} are disputed by the submitter read "
            "before: leaderboard.html has both side by side, tables and report those of the folder named first."
        )


def stated_rows(entry: Entry) -> Iterator[Row]:
    """The rows of a cell, as its file states them."""
    for metric, curve in entry.curves.items():
        yield from table.curve_rows(entry.cell, metric, curve, entry.trust(metric).level, entry.key, entry.axis)


def by_coordinates(entries: Iterable[Entry]) -> dict[Cell, list[Entry]]:
    """Entries that differ in their seeds alone, by their coordinates; the seed in these is -1."""
    return grouped(entries, lambda entry: replace(entry.cell, seed=-1))


def write(
    folder: Path, cells: Iterable[tuple[Result[Any], Origin]], samples: bool, submitter: Submitter | None = None
) -> list[Path]:
    """Write one file a cell.

    Args:
        folder: Where.
        cells: Results, and what they do not know of their cells.
        samples: Also the classes of every sample.
        submitter: Who computed them; None: the files name nobody.

    Returns:
        The files.

    Raises:
        ResultsError: The folder cannot be written.
    """
    stated = submitter.stated() if submitter else {}
    contents = [_content(result, origin, samples, stated) for result, origin in cells]
    for content in contents:
        if fault := strangers.fault(as_json(content)):
            raise ResultsError(f"cell {content['key']} cannot be shared: {fault}; give it another name.")
    paths = [folder / f"{content['key']}.json" for content in contents]
    for path, content in zip(paths, contents, strict=True):
        write_atomically(path, (json.dumps(as_json(content), indent=1, allow_nan=False) + "\n").encode())
    return paths


def _content(result: Result[Any], origin: Origin, samples: bool, submitter: Mapping[str, str]) -> dict[str, Any]:
    keys = {name: key for name, key in origin.beside.items() if name != "white"}
    others = {"beside": keys} if keys else {}  # files of earlier versions have no such key
    content = {
        "schema": LATER if submitter else SCHEMA,
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
    if submitter:  # who is in no file is read by earlier versions, too
        content["submitter"] = dict(submitter)
    if result.doubts:
        content["doubts"] = {name: asdict(doubt) for name, doubt in result.doubts.items()}
    if samples:
        beside = {name: pack(record) for name, record in result.beside.items()}
        content["samples"] = {"outcome": pack(result.outcome), "white": None} | beside
    return content


def read(paths: Sequence[Path], mark: bool = False) -> Board:
    """Read files, and all ``*.json`` of folders; what is there twice with the same numbers counts once.

    Args:
        paths: Files and folders.
        mark: Put files whose numbers are not those of their samples aside, in place of refusing them.

    Raises:
        ResultsError: A file is damaged, foreign or of a newer version, its numbers are not those of its samples, or
            two files of the same submitter contradict each other.
    """
    inside = [sorted(path.glob("*.json")) if path.is_dir() else [path] for path in paths]
    if not any(inside):
        raise ResultsError(
            f"no leaderboard file in {', '.join(map(str, paths))}: expected *.json, as tl-robust export writes them."
        )
    entries = _each_once(read_entry(path, mark) for path in chain.from_iterable(inside))
    shown, aside = list[Entry](), list[Entry]()
    for group in by_coordinates(entries).values():
        for owner in dict.fromkeys(chain.from_iterable(entry.names for entry in group)):
            _check_coordinates([entry for entry in group if owner in entry.names])
        sound = [entry for entry in group if not entry.wrong]
        first = sound[0].names[0] if disputed(sound) else None
        kept = [entry for entry in sound if first is None or first in entry.names]
        shown += kept
        aside += [entry for entry in group if entry not in kept]
    return Board(tuple(sorted(shown, key=_place)), tuple(sorted(aside, key=_place)))


def _place(entry: Entry) -> tuple[str, int, str]:
    return entry.cell.bench, entry.content["place"], entry.key


def _each_once(entries: Iterable[Entry]) -> list[Entry]:
    """Each cell once where its files agree, with the others of them as its twins; the one with samples counts."""
    cells: dict[str, list[Entry]] = {}
    for entry in entries:
        known = cells.setdefault(entry.key, [])
        for other in (file for cell in known for file in (cell, *cell.twins)):
            if other.submitter.name == entry.submitter.name and not other.same_file(entry):
                both = f"{other.path} and {entry.path}"
                raise ResultsError(f"{both} have the same cell {entry.key} with other content: keep one of them.")
        place = next((place for place, other in enumerate(known) if _joins(other, entry)), None)
        if place is None:
            known.append(entry)
        else:
            known[place] = _with_twin(known[place], entry)
    return list(chain.from_iterable(cells.values()))


def _joins(first: Entry, second: Entry) -> bool:
    """Whether two files are one entry: nobody's numbers are put in doubt by the samples that another sent with them."""
    denied = bool(first.wrong or second.wrong) and first.submitter.name != second.submitter.name
    return first.agrees(second) and not denied


def _with_twin(first: Entry, second: Entry) -> Entry:
    """Two files of one cell as one entry; a file with samples that bear its numbers out is the better one."""
    better = second.result and (not first.result or (first.wrong and not second.wrong))
    main, other = (second, first) if better else (first, second)
    twins = [*first.twins, *second.twins]
    if main.submitter != other.submitter:
        twins.append(replace(other, twins=()))
    return replace(main, twins=tuple(twins))


def disputed(group: Sequence[Entry]) -> bool:
    """Whether entries of the same coordinates cannot all be true: a seed twice, or other settings, data or versions."""
    seeds = {entry.cell.seed for entry in group}
    return len(seeds) < len(group) or len({entry.content["protocol"] for entry in group}) > 1


def _check_coordinates(group: Sequence[Entry]) -> None:
    """Cells of the same coordinates and submitter differ in their seeds alone."""
    seeds: dict[int, Entry] = {}
    for entry in group:
        other = seeds.setdefault(entry.cell.seed, entry)
        if other is not entry or entry.content["protocol"] != group[0].content["protocol"]:
            first = other if other is not entry else group[0]
            raise ResultsError(
                f"{first.path} ({first.cell}, defense {first.cell.defense}) and {entry.path} (seed {entry.cell.seed}) "
                "have the same coordinates but were made with other settings, data or versions: tables could not tell "
                "them apart. Export one of them from a bench of another name."
            )
