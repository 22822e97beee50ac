"""The rows of a leaderboard: what each submitter says of a cell over all its seeds, and where that stands among others.

A *question* is what rows must share to be compared: pair, network, target images, test set, attack, view, metric and
the place on the axis. Strategies, defenses and submitters answer it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import torch

from tl_robust.metrics import METRICS
from tl_robust.metrics.metric import Seed
from tl_robust.results import table
from tl_robust.results.difference import SAMPLES
from tl_robust.results.entry import Entry, Submitter
from tl_robust.results.faces import face_of
from tl_robust.results.leaderboard import Board, by_coordinates, disputed, stated_rows
from tl_robust.results.means import mean_rows
from tl_robust.results.names import grouped, interval
from tl_robust.results.ranking import LEAST_SEEDS, Contender, Rank, ranks
from tl_robust.results.table import Row
from tl_robust.trust.base import worst
from tl_robust.types import Cell, Face, Record, Verdict

Means = Mapping[tuple[Cell, str], Sequence[Row]]


@dataclass(frozen=True)
class Share:
    """What one or several submitters have of the same coordinates: cells that differ in their seeds alone.

    Attributes:
        owners: Their names; several where all their cells are the same.
        entries: The cells, seeds ascending.
    """

    owners: tuple[str, ...]
    entries: tuple[Entry, ...]

    @property
    def cell(self) -> Cell:
        """The coordinates, without a seed."""
        return replace(self.entries[0].cell, seed=-1)

    @property
    def files(self) -> list[Entry]:
        """All their files of these cells."""
        return [file for entry in self.entries for file in (entry, *entry.twins) if file.submitter.name in self.owners]

    @property
    def records(self) -> list[Seed]:
        """The record of each seed and what is beside it, of the cells that came with samples."""
        return [(entry.result.outcome, entry.result.beside) for entry in self.entries if entry.result]

    @property
    def exact(self) -> bool:
        """Whether its numbers can be computed from samples, which say what the files state."""
        return all(entry.result and not entry.wrong for entry in self.entries)


@dataclass(frozen=True)
class Line:
    """One row of the leaderboard.

    Attributes:
        share: Whose it is, and of which cells.
        row: The number over all seeds, with its interval and its place on the axis.
        beside: Other numbers of the same cells that belong to it, by what they are called.
        verdict: The worst trust over its seeds, with all reasons.
        disputes: What others say of the same coordinates, a sentence each.
        wrong: Where stated numbers are not those of the samples, a sentence each.
        rank: Where it stands; None where that cannot be said.
        why: Why it has no rank; empty where it has one.
    """

    share: Share
    row: Row
    beside: Mapping[str, Row]
    verdict: Verdict
    disputes: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()
    rank: Rank | None = None
    why: str = ""

    @property
    def cell(self) -> Cell:
        """The coordinates, without a seed."""
        return self.share.cell

    @property
    def seeds(self) -> list[int]:
        """The seeds that it is a mean over."""
        return [entry.cell.seed for entry in self.share.entries]

    @property
    def submitters(self) -> list[Submitter]:
        """Who submitted it, as they call themselves."""
        return list(dict.fromkeys(file.submitter for file in self.share.files))

    @property
    def samples(self) -> int:
        """How many of its cells came with samples."""
        return sum(entry.result is not None for entry in self.share.entries)

    @property
    def basis(self) -> str:
        """What the interval rests on: ``samples``, ``approximate`` over several seeds, or ``stated`` of one."""
        return "samples" if self.share.exact else "approximate" if len(self.seeds) > 1 else "stated"

    @property
    def outcast(self) -> bool:
        """Whether it stands last and is never ranked."""
        return self.verdict.level == "red" or bool(self.wrong)

    @property
    def question(self) -> tuple[Any, ...]:
        """What it must share with others to be compared with them; sorts by what a reader looks for first."""
        cell, data = self.cell, self.share.entries[0].content["data"]
        what = (cell.threat, cell.source, cell.target, cell.network, cell.target_images, cell.attack, cell.norm)
        where = -1.0 if self.row.eps is None else float(f"{self.row.eps:.6g}")
        return (*what, cell.view, data["test_fingerprint"], data["test_images"], self.row.metric, where)


def lines(board: Board) -> list[Line]:
    """The rows of a leaderboard: by question, then by rank and value, those that cannot be trusted last."""
    means = grouped(board.summary, lambda row: (row.cell, row.metric))
    pooled = {cell: {id(entry) for entry in entries} for cell, entries in by_coordinates(board.entries).items()}
    made = list[Line]()
    for cell, entries in by_coordinates(board.every).items():
        shares = _shares(entries)
        same = [{id(entry) for entry in share.entries} == pooled.get(cell) for share in shares]
        made += _disputed(
            [list(_lines(share, means if known else {})) for share, known in zip(shares, same, strict=True)]
        )
    placed = list[Line]()
    for question in sorted(grouped(made, lambda line: line.question).items(), key=lambda item: item[0]):
        placed += _placed(question[1])
    return placed


def _shares(entries: Sequence[Entry]) -> list[Share]:
    """What each submitter has; submitters of the same cells share."""
    owned: dict[tuple[int, ...], Share] = {}
    for owner in dict.fromkeys(chain.from_iterable(entry.names for entry in entries)):
        own = sorted((entry for entry in entries if owner in entry.names), key=lambda entry: entry.cell.seed)
        before = owned.get(key := tuple(map(id, own)))
        owned[key] = Share((*(before.owners if before else ()), owner), tuple(own))
    return list(owned.values())


def _lines(share: Share, known: Means) -> Iterator[Line]:
    face = face_of(share.cell)
    stated = set.intersection(*(set(entry.curves) for entry in share.entries))
    if not stated:
        return
    headline = face.headline if face.headline in stated else min(stated)
    wanted = [name for name in (headline, face.accuracy, *face.beside) if name in stated]
    rows = {name: _means(share, name, known) for name in dict.fromkeys(wanted)}
    attacked = [row for row in rows[headline] if row.eps is None or row.eps != face.baseline] or rows[headline]
    verdict = worst([entry.trust(headline) for entry in share.entries])
    wrong = tuple(f"Seed {entry.cell.seed}: {text}." for entry in share.entries for text in entry.wrong)
    for row in attacked:
        yield Line(share, row, dict(_beside(face, headline, rows, row)), verdict, wrong=wrong)


def _means(share: Share, metric: str, known: Means) -> list[Row]:
    """The rows of a metric over all seeds of a share."""
    if already := known.get((share.cell, metric)):
        return list(already)
    if share.exact:
        curve, axis = METRICS[metric].mean_curve(share.records), share.entries[0].axis
        trust = worst([entry.trust(metric) for entry in share.entries]).level
        return list(table.curve_rows(share.cell, metric, curve, trust, "", axis))
    return mean_rows([row for entry in share.entries for row in stated_rows(entry) if row.metric == metric])


def _beside(face: Face, headline: str, rows: Mapping[str, list[Row]], row: Row) -> Iterator[tuple[str, Row]]:
    for name, called in {face.accuracy: "accuracy", **face.beside}.items():
        yield from ((called, other) for other in rows.get(name, ()) if other.eps in (row.eps, None))
    if face.baseline is not None and row.eps != face.baseline:
        yield from ((face.untouched, other) for other in rows[headline] if other.eps == face.baseline)


def _disputed(made: Sequence[Sequence[Line]]) -> Iterator[Line]:
    """Lines of the shares of one cell, each with what the others say where not both can be true."""
    for own in made:
        others = [other for other in made if other is not own and own and other and _contradict(own[0], other[0])]
        others = [other for other in others if not other[0].wrong]  # what its own samples deny disputes nothing
        for line in own:
            same = [twin for twin in chain.from_iterable(others) if twin.question[-2:] == line.question[-2:]]
            yield replace(line, disputes=tuple(_said(twin, line) for twin in same))


def _contradict(first: Line, second: Line) -> bool:
    both = {id(entry): entry for entry in (*first.share.entries, *second.share.entries)}
    return disputed(list(both.values()))


def _said(line: Line, own: Line) -> str:
    names = ", ".join(name or "a submitter without a name" for name in line.share.owners)
    protocols = {entry.content["protocol"] for entry in (*line.share.entries, *own.share.entries)}
    how = ", with other settings, data or versions" * (len(protocols) > 1)
    return f"{names}: {interval(line.row)}, seeds {', '.join(map(str, line.seeds))}{how}."


def _placed(group: Sequence[Line]) -> list[Line]:
    """The answers to one question with their ranks, in order."""
    higher = METRICS[group[0].row.metric].higher_is_better
    made = list[Line]()
    able = [line for line in group if not _barred(line, higher)]
    made += [replace(line, why=why) for line in group if (why := _barred(line, higher))]
    if len(able) < 2:
        made += [replace(line, why="nothing to compare with") for line in able]
    else:
        found = ranks([_contender(line) for line in able], bool(higher))
        told = any(rank.told for rank in found)
        for line, rank in zip(able, found, strict=True):
            made.append(replace(line, rank=rank) if told else replace(line, why="not told apart"))
    sign = -1 if higher is not False else 1

    def order(line: Line) -> tuple[Any, ...]:
        value = math.inf if math.isnan(line.row.value) else sign * line.row.value
        return line.outcast, line.rank.first if line.rank else math.inf, value, line.cell.strategy, line.share.owners

    return sorted(made, key=order)


def _barred(line: Line, higher: bool | None) -> str:
    """Why a line takes no part in ranks; empty where it does."""
    if line.wrong:
        return "its samples say other numbers"
    if line.verdict.level == "red":
        return "red"
    if higher is None:
        return "no direction is good"
    if any(map(math.isnan, (line.row.value, line.row.low, line.row.high))):
        return "no interval"
    if len(line.seeds) < LEAST_SEEDS and face_of(line.cell).units == "seeds":
        return f"{len(line.seeds)} seed{'s' * (len(line.seeds) > 1)} of {LEAST_SEEDS}"
    return ""


def _contender(line: Line) -> Contender:
    row, seeds = line.row, max(len(line.seeds), LEAST_SEEDS)
    if not line.share.exact:
        return Contender(row.value, row.low, row.high, seeds)
    outcomes = [outcome for outcome, _ in line.share.records]
    draws = METRICS[row.metric].draws(line.share.records)
    at = 0 if row.eps is None else int((outcomes[0].x - row.eps).abs().argmin())
    met = (draws.units, tuple(line.seeds), tuple(map(_samples, outcomes)))
    return Contender(row.value, row.low, row.high, seeds, draws.at(torch.tensor([at])), met)


def _samples(record: Record) -> str:
    """Which samples a record is of: a digest of what says it."""
    told = hashlib.sha256()
    for name, tensor in record.tensors().items():
        if name in SAMPLES:
            told.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
            told.update(tensor.contiguous().numpy().data)
    return told.hexdigest()
