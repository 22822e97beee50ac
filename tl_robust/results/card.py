"""The defense card: what each defense of a pair does to all threats at once, beside the same B without it.

Pure functions of results. Every effect is that of the defended B less that of its undefended twin, on the same samples
and seeds, and Holm's correction runs over the defenses of a column.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch

from tl_robust.claims.comparisons import UNDEFENDED, Comparisons, Place, Side
from tl_robust.claims.effects import MissingError
from tl_robust.metrics import METRICS
from tl_robust.metrics.estimate import estimate, holm
from tl_robust.results.columns import COLUMNS, Column
from tl_robust.results.names import grouped, measured
from tl_robust.text import eps_text
from tl_robust.trust import worst
from tl_robust.types import Cell, Result, Verdict

Decision = Literal["helps", "harms", "undecided", "cannot tell", ""]
LEVEL = 0.05  # two-sided, after Holm's correction over the defenses of a column


@dataclass(frozen=True)
class Effect:
    """A defended number less the undefended one, on the same samples and seeds.

    Attributes:
        value: In the unit of the column.
        low: Lower end of its 95 % interval.
        high: Upper end.
        p: Two-sided p-value, after Holm's correction over the defenses of the column.
    """

    value: float
    low: float
    high: float
    p: float


@dataclass(frozen=True)
class Entry:
    """What a card says of one defense in one column.

    Attributes:
        value: Mean over seeds; NaN where it was not measured.
        low: Lower end of its 95 % interval; NaN of a ratio.
        high: Upper end.
        n: Samples in the denominator, over all seeds.
        attack: The attack with which it is worst for the defender, as tables show it; empty of a cost.
        effect: Beside the undefended twin; None where that cannot be told.
        decision: What the effect says; empty where a column is not judged, and of the undefended B.
        trust: Of the cells it is read from.
        why: Why there is no number, or no effect; empty where there are both, or no effect is asked for.
        cells: Keys of the cells it is read from.
    """

    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    n: int = 0
    attack: str = ""
    effect: Effect | None = None
    decision: Decision = ""
    trust: Verdict = field(default_factory=Verdict)
    why: str = ""
    cells: tuple[str, ...] = ()


@dataclass(frozen=True)
class Line:
    """One defense.

    Attributes:
        defense: As tables name it; ``none`` is the undefended twin.
        entries: By name of the column.
        trust: The worst of its entries.
        known: What the attackers do who know it, a sentence each; empty of the undefended B.
    """

    defense: str
    entries: Mapping[str, Entry]
    trust: Verdict
    known: tuple[str, ...] = ()


@dataclass(frozen=True)
class Card:
    """The table of one pair and strategy at one eps.

    Attributes:
        source: Domain of the public model A.
        target: Domain of B.
        network: Network with settings.
        strategy: How B is made of A.
        common: Domain of the common start; empty where there is none.
        eps: Size of the changes of evasion in [0,1] pixel units; NaN where no cell of evasion was run.
        lines: The undefended B first, then every defense.
        columns: The columns that are shown.
        notes: By name of a column, what must be known of its numbers here: recipe, labels, what was not run.
    """

    source: str
    target: str
    network: str
    strategy: str
    common: str
    eps: float
    lines: tuple[Line, ...]
    columns: tuple[Column, ...]
    notes: Mapping[str, str]

    @property
    def title(self) -> str:
        """Pair, strategy and eps, as a heading has them."""
        common = f" via {self.common}" * bool(self.common)
        size = "" if math.isnan(self.eps) else f", eps {eps_text(self.eps)}"
        return f"{self.source} → {self.target}, {self.strategy}{common}{size}"


def cards(results: Sequence[Result[Any]], eps: float | None = None) -> tuple[Card, ...]:
    """The cards of some benches, one for each pair, network, strategy and eps; none where nothing is defended.

    Evasion, backdoor and membership of a pair and strategy stand in one table, whatever number of labels they were
    measured with: the notes say it. Of cells of evasion with several numbers of labels the largest counts.

    Args:
        results: Of one or several benches.
        eps: The only size to show; all above 0 where None, the middle one first.
    """
    made: list[Card] = []
    for own in grouped(results, lambda result: _coordinates(result.cell)).values():
        if any(_defense(result.cell) != UNDEFENDED for result in own):
            tables = _Tables(own)
            made += [tables.card(size) for size in ([eps] if eps is not None else sizes(own))]
    return tuple(made)


def sizes(results: Iterable[Result[Any]]) -> list[float]:
    """All eps above 0 of evasion, the middle one first (the lower of two); a NaN where there are none."""
    evasion = (result.outcome for result in results if result.cell.threat == "evasion")
    found = sorted({x for outcome in evasion for x in outcome.x.tolist() if x > 0}) or [math.nan]
    return [found.pop((len(found) - 1) // 2), *found]


def _coordinates(cell: Cell) -> tuple[str, str, str, str, str]:
    return cell.source, cell.target, cell.network, cell.strategy, cell.common


def _defense(cell: Cell) -> str:
    return cell.defense or UNDEFENDED


class _Tables:
    """The results of one pair, network and strategy.

    Args:
        results: Of any threat.
    """

    def __init__(self, results: Sequence[Result[Any]]) -> None:
        self._cell = results[0].cell
        self._most = {
            threat: max(result.cell.target_images for result in own)
            for threat, own in grouped(results, lambda result: result.cell.threat).items()
        }
        kept = [result for result in results if result.cell.target_images == self._most[result.cell.threat]]
        self._results = grouped(kept, lambda result: result.cell.threat)
        self._sides = {threat: Comparisons(own) for threat, own in self._results.items()}
        defenses = dict.fromkeys(_defense(result.cell) for result in kept)
        self._defenses = [UNDEFENDED, *(name for name in defenses if name != UNDEFENDED)]

    def card(self, eps: float) -> Card:
        """The card at an eps."""
        notes: dict[str, str] = {}
        numbers = {column.name: self._column(column, eps, notes) for column in COLUMNS}
        lines = tuple(self._line(name, {column: of[name] for column, of in numbers.items()}) for name in self._defenses)
        return Card(*_coordinates(self._cell), eps, lines, COLUMNS, notes)

    def _line(self, defense: str, entries: Mapping[str, Entry]) -> Line:
        own = [result for results in self._results.values() for result in results if _defense(result.cell) == defense]
        known = dict.fromkeys(why for result in own for why in result.provenance.get("adaptive", ()))
        return Line(defense, entries, worst([entry.trust for entry in entries.values()]), tuple(known))

    def _column(self, column: Column, eps: float, notes: dict[str, str]) -> dict[str, Entry]:
        """The entries of a column by defense, with corrected p-values; what is to be known of it goes to the notes."""
        if column.provenance:
            return {defense: self._cost(column, defense) for defense in self._defenses}
        if not (found := self._found(column)):
            named = f"no attack of {column.threat}" if column.threat not in self._results else "none"
            notes[column.name] = f"Not run: {named} in view {' or '.join(column.views)} is in these benches."
            return dict.fromkeys(self._defenses, Entry(why="not run"))
        notes[column.name] = self._recipe(column, found)
        read = {name: self._worst(column, column.metric, name, eps) for name in self._defenses}
        plain = read[UNDEFENDED]
        entries = {name: self._beside(column, seen, plain, eps) for name, seen in read.items()}
        if untold := self._untold(column):
            notes[column.name] += f" {untold}"
        return _decided(column, entries, bool(untold))

    def _found(self, column: Column) -> list[Result[Any]]:
        """The results of the first view that was run."""
        own = grouped(self._results.get(column.threat, ()), lambda result: result.cell.view)
        return next((own[view] for view in column.views if view in own), [])

    def _worst(self, column: Column, metric: str, defense: str, eps: float) -> _Read:
        """The number of a defense with the attack that is worst for the defender."""
        side, read = Side(self._cell.strategy, defense), list[_Read]()
        views = {result.cell.view for result in self._found(column)}
        for place in self._sides[column.threat].places if not column.own or defense != UNDEFENDED else ():
            for view in views:
                results = self._sides[column.threat].results(place, side, view)
                if entry := _entry(column, metric, results, eps):
                    read.append(_Read(entry, place, view, side))
        worst_of = min if METRICS[metric].higher_is_better else max
        return worst_of(read, key=lambda each: each.entry.value, default=_Read(Entry(why="not run"), None, "", side))

    def _beside(self, column: Column, read: _Read, plain: _Read, eps: float) -> Entry:
        """An entry with what the defense changes, each side with the attack that is worst for it."""
        if not column.better or read is plain or not read.place:
            return read.entry
        at = {"eps": eps, "baseline": 0.0}.get(column.at)
        try:
            draws, _ = self._sides[column.threat].gap(
                read.place, column.metric, read.view, read.side, plain.side,
                than=plain.place, last=at is None, at=at,
            )  # fmt: skip
        except MissingError as missing:
            return replace(read.entry, why=str(missing))
        change = estimate(draws)
        p = 2 * float(torch.minimum(change.above(), (-change).above()))
        low, high = (float(end) for end in change.interval())
        return replace(read.entry, effect=Effect(float(change.value), low, high, min(1.0, p)))

    def _untold(self, column: Column) -> str:
        """Why a column tells nothing of any defense; empty where it tells something."""
        if not column.telling:
            return ""
        name, least = column.telling
        value = self._worst(column, name, UNDEFENDED, math.nan).entry.value
        if value >= least:
            return ""
        said = "was not measured" if math.isnan(value) else f"is {measured(value, 'share')}"
        return f"Cannot tell: {name} of the undefended B {said}, and below {least:.0%} there is nothing to defend."

    def _recipe(self, column: Column, found: Sequence[Result[Any]]) -> str:
        """Bench, labels, seeds and attacks that a column rests on."""
        cells = [result.cell for result in found]
        facts = (
            f"Bench {_listed(cell.bench for cell in cells)}",
            f"{self._most[column.threat]} labeled target images",
            f"seeds {_listed(str(cell.seed) for cell in cells)}",
            f"attack {_listed(f'{cell.attack} {cell.norm}'.strip() for cell in cells)}, view {cells[0].view}",
        )
        return "; ".join(facts) + "."

    def _cost(self, column: Column, defense: str) -> Entry:
        """A cost over that of the undefended B: the mean over the seeds that know it."""
        if not column.divided and defense == UNDEFENDED and any(self._spent(column, name) for name in self._defenses):
            return Entry(1.0)  # what is stored is divided by it
        spent, base = self._spent(column, defense), self._spent(column, UNDEFENDED) if column.divided else [1.0]
        if not spent or not base or not sum(base):
            return Entry(why="not measured")
        return Entry(sum(spent) / len(spent) / (sum(base) / len(base)), n=len(spent))

    def _spent(self, column: Column, defense: str) -> list[float]:
        """What the first threat with such cells knows, each seed once."""
        for own in self._results.values():
            known = [result for result in own if result.provenance.get(column.provenance) is not None]
            by_seed = {
                result.cell.seed: float(result.provenance[column.provenance])
                for result in known
                if _defense(result.cell) == defense
            }
            if by_seed:
                return list(by_seed.values())
        return []


@dataclass(frozen=True)
class _Read:
    """An entry, and where it was read; without a place it was not run."""

    entry: Entry
    place: Place | None
    view: str
    side: Side


def _entry(column: Column, metric: str, results: Sequence[Result[Any]], eps: float) -> Entry | None:
    """The number of some seeds; None where it was not run, or not asked at this place on the axis."""
    kind, results = METRICS[metric], sorted(results, key=lambda result: result.cell.seed)
    if not results or any(name not in result.beside for name in kind.beside for result in results):
        return None
    xs = results[0].outcome.x.tolist()
    wanted = {"eps": eps, "baseline": 0.0, "last": xs[-1]}[column.at]
    places = [index for index, x in enumerate(xs) if math.isclose(x, wanted, rel_tol=1e-9, abs_tol=1e-12)]
    if not places:
        return None
    curve, index = kind.mean_curve([(result.outcome, result.beside) for result in results]), places[0]
    cell = results[0].cell
    return Entry(
        float(curve.value[index]),
        float(curve.low[index]),
        float(curve.high[index]),
        int(curve.n[index]),
        f"{cell.attack} {cell.norm}".rstrip(),
        trust=worst([result.trust(metric) for result in results]),
        cells=tuple(result.key for result in results),
    )


def _decided(column: Column, entries: Mapping[str, Entry], untold: bool) -> dict[str, Entry]:
    """The same with Holm's correction over all effects of a column, and what they decide."""
    judged = {name: entry.effect for name, entry in entries.items() if entry.effect}
    p_values = dict(zip(judged, holm([effect.p for effect in judged.values()]), strict=True))
    decided = {}
    for name, entry in entries.items():
        effect = judged.get(name)
        decision: Decision = ""
        if column.better and name != UNDEFENDED and not math.isnan(entry.value):
            decision = "cannot tell" if untold else "undecided"
        if effect:
            effect = replace(effect, p=p_values[name])
            if decision == "undecided" and effect.p <= LEVEL:
                decision = "helps" if (effect.value > 0) == (column.better == "higher") else "harms"
        decided[name] = replace(entry, effect=effect, decision=decision)
    return decided


def _listed(texts: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(texts))
