"""All claims judged on the results of a bench: tests, Holm's correction, decisions."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tl_robust.claims.base import CLAIMS, Claim, Decision, Effect, ElsewhereError, Finding, MissingError
from tl_robust.claims.record import Place, Record
from tl_robust.metrics.estimate import holm
from tl_robust.text import eps_text
from tl_robust.types import Result

LEVEL = 0.05  # two-sided, after Holm's correction


@dataclass(frozen=True)
class _Test:
    """Effects that must all be above 0, and how likely they would look so if not.

    Attributes:
        name: Title of the claim.
        claim: The claim.
        effects: At least one.
        holds: One-sided p-value of "all are above 0": the largest of the parts (Berger, Technometrics 1982).
        fails: That of "one is below 0": the smallest, times their number.
        note: A sentence for the reason.
    """

    name: str
    claim: Claim
    effects: tuple[Effect, ...]
    holds: float
    fails: float
    note: str = ""

    @classmethod
    def of(cls, name: str, claim: Claim, effects: Sequence[Effect]) -> _Test:
        """The test of some effects."""
        parts = [one.each if claim.every and one.each else one.mean for one in effects]
        above = [value for part in parts for value in part.above().tolist()]
        return cls(name, claim, tuple(effects), max(above), min(1.0, len(above) * min(1 - value for value in above)))

    @property
    def p(self) -> float:
        """Two-sided p-value."""
        return min(1.0, 2 * min(self.holds, self.fails))

    def finding(self, pair: str, attack: str, p: float) -> Finding:
        """The record of what the corrected p-value and the single eps allow to say.

        A claim is decided by the mean over eps; where single eps say the opposite beyond doubt, it stays open.
        """
        held = self.holds < self.fails
        order = sorted(self.effects, key=lambda one: float(one.mean.above()))
        shown = order[-1]  # what supports the claim least: all hold, or this one fails
        opposite = [size for one in (self.effects if held else [shown]) for size in _beyond(one, above=not held)]
        decision: Decision = "supported" if held else "refuted"
        if p > LEVEL or (opposite and not self.claim.every):
            decision = "undecided"
        low, high = (float(end) for end in shown.mean.interval())
        return Finding(
            self.name, self.claim.says, self.claim.source, pair, attack, decision, float(shown.mean.value), low, high,
            shown.unit, p, min(one.mean.seeds for one in self.effects), min(one.mean.samples for one in self.effects),
            " ".join(filter(None, [self._reason(decision, shown), self.note])),
        )  # fmt: skip

    def _reason(self, decision: Decision, shown: Effect) -> str:
        count = len(self.effects)
        what = f"The weakest of {count} parts, {shown.name}" if count > 1 else shown.name[:1].upper() + shown.name[1:]
        above, below = (_beyond(shown, above=sign) for sign in (True, False))
        if decision == "undecided" and above and below:
            return f"{what}: above 0 at eps {_listed(above)}, below at {_listed(below)}."
        text = what
        if shown.each and len(shown.eps) > 1:
            values = shown.each.value.tolist()
            ends = [(value, shown.eps[values.index(value)]) for value in (min(values), max(values))]
            text += ": " + " to ".join(f"{_size(value, shown.unit)} at eps {eps_text(eps)}" for value, eps in ends)
        return f"{text}.{self._doubt(shown) if decision == 'undecided' else ''}"

    def _doubt(self, shown: Effect) -> str:
        """Why what is not contradicted is not decided either."""
        low, high = (float(end) for end in shown.mean.interval())
        if low <= 0 <= high:
            return " Too close to 0 for these seeds and samples."
        if self.claim.every and shown.each and len(shown.eps) > 1:
            return " Beyond doubt on the mean, but not at every eps."
        return " Beyond doubt alone, but not among all claims judged here (Holm)."


def _beyond(effect: Effect, above: bool) -> list[float]:
    """Eps at which an effect is above (or below) 0 beyond doubt, corrected for their number."""
    if effect.each is None:
        return []
    p = effect.each.above().tolist()
    return [
        eps for eps, value in zip(effect.eps, p, strict=True) if len(p) * (value if above else 1 - value) <= LEVEL / 2
    ]


def judge(results: Sequence[Result]) -> tuple[Finding, ...]:
    """What the results say about every claim: the findings over all pairs first, then those of each pair.

    Each attack is judged for itself. Red cells are never used. Holm's correction runs over the claims of one attack
    that can be judged at the same place, and over those made over all pairs.
    """
    record = Record(results)
    overall, single = list[Finding](), list[Finding]()
    for method in dict.fromkeys(place.method for place in record.places):
        places = [place for place in record.places if place.method == method]
        at = {place: _at(record, place) for place in places}
        own = [
            finding
            for place, tests in at.items()
            for finding in _findings(
                [test for test in tests.values() if isinstance(test, _Test)], record.title(place), method
            )
        ]
        tests = {name: _overall(name, record, places, at) for name in sorted(CLAIMS.names(), key=_order)}
        judged = iter(_findings([test for test in tests.values() if isinstance(test, _Test)], "", method))
        for name, test in tests.items():
            if isinstance(test, _Test):
                overall.append(_agreed(next(judged), own))
            elif not isinstance(test, ElsewhereError):
                overall.append(_missing(_title(name), CLAIMS[name], method, test))
        single += own
    return (*overall, *single)


def _at(record: Record, place: Place) -> dict[str, _Test | MissingError]:
    """The claims at a place: their tests, or what is missing."""
    found: dict[str, _Test | MissingError] = {}
    for name in sorted(CLAIMS.names(), key=_order):
        claim = CLAIMS[name]
        if claim.place:
            try:
                found[name] = _Test.of(_title(name), claim, claim.place(record, place))
            except MissingError as missing:
                found[name] = missing
    return found


def _findings(tests: Sequence[_Test], pair: str, attack: str) -> list[Finding]:
    """Findings of a family of tests."""
    return [test.finding(pair, attack, p) for test, p in zip(tests, holm([test.p for test in tests]), strict=True)]


def _overall(
    name: str, record: Record, places: Sequence[Place], at: Mapping[Place, Mapping[str, _Test | MissingError]]
) -> _Test | MissingError:
    """A claim over all places of an attack, or why it cannot be judged."""
    claim = CLAIMS[name]
    if claim.bench:
        try:
            return _Test.of(_title(name), claim, claim.bench(record, tuple(places)))
        except MissingError as missing:
            return missing
    found = [at[place][name] for place in places]
    missed = [one for one in found if isinstance(one, MissingError)]
    effects: dict[str, list[Effect]] = {}
    for test in found:
        for one in test.effects if isinstance(test, _Test) else ():
            effects.setdefault(one.name, []).append(one)
    if not effects:
        return next((one for one in missed if not isinstance(one, ElsewhereError)), missed[0])
    lost = sum(not isinstance(one, ElsewhereError) for one in missed)
    note = f"Without {lost} of {len(found)} pairs, since {missed[0]}" if lost else ""
    return replace(_Test.of(_title(name), claim, [Effect.over(same) for same in effects.values()]), note=note)


def _missing(title: str, claim: Claim, method: str, missing: MissingError) -> Finding:
    reason = str(missing)[:1].upper() + str(missing)[1:]
    return Finding(
        title, claim.says, claim.source, "", method, "undecided", math.nan, math.nan, math.nan, "share", math.nan, 0, 0,
        reason,
    )  # fmt: skip


def _agreed(finding: Finding, singles: Sequence[Finding]) -> Finding:
    """Undecided where a pair says the opposite of the mean over pairs."""
    opposite = {"supported": "refuted", "refuted": "supported"}.get(finding.decision)
    pairs = [one.pair for one in singles if one.claim == finding.claim and one.decision == opposite]
    if not pairs:
        return finding
    reason = f"{finding.reason} The mean over pairs is {finding.decision}, but {', '.join(pairs)} {opposite}."
    return replace(finding, decision="undecided", reason=reason)


def _title(name: str) -> str:
    return name.upper()


def _order(name: str) -> tuple[str, int]:
    """H2 before H10."""
    letters, digits = re.fullmatch(r"(.*?)(\d*)", name).groups()  # type: ignore[union-attr]
    return letters, int(digits or 0)


def _listed(eps: Sequence[float]) -> str:
    return ", ".join(map(eps_text, eps))


def _size(value: float, unit: str) -> str:
    return f"{100 * value:+.1f} points" if unit == "share" else f"{value:+.2f}"
