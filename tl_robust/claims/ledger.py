"""All claims decided on the results of a bench: tests, Holm's correction, decisions.

The primary claims are what a threat's literature is known for; of evasion they are H1 and H2, the paper's two sides.
Holm's correction runs over the primary claims of a threat, and apart from them over all its others. A claim is decided
at every place, and on the mean over places: over all, of each pair over its numbers of labels, and of each number of
labels over its pairs. Each of these scopes has its two families.

A claim is decided by its mean over eps, or over what else stands on the axis of its threat. Accuracy over eps is the
share of samples whose least harmful eps is larger, so "lower at every eps" is first-order stochastic dominance of that
eps, and "lower on the mean, with little to the contrary" is almost stochastic dominance (Leshno and Levy, Management
Science 2002). The measure of the contrary is theirs, the part of the area between the curves where the order is the
opposite, and the bound 0.2 is the one that was recommended for comparing networks (Ulmer, Hardmeier, Frellsen,
"deep-significance", 2022). So curves that cross near their start leave a claim decided, with a word in the reason, and
curves that cross in the middle leave it open.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, get_args

from tl_robust.claims.claim import CLAIMS, Claim
from tl_robust.claims.comparisons import Comparisons, Place
from tl_robust.claims.effects import Decision, Effect, ElsewhereError, Family, Finding, MissingError
from tl_robust.metrics.estimate import holm
from tl_robust.text import eps_text
from tl_robust.types import Result

LEVEL = 0.05  # two-sided, after Holm's correction
CROSSED = 0.2  # part of the area between two curves that is of the opposite order, from which a claim is open
FAMILIES: tuple[Family, ...] = get_args(Family)


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
        parts = [effect.each if claim.every and effect.each else effect.mean for effect in effects]
        above = [value for part in parts for value in part.above().tolist()]
        below = [value for part in parts for value in (-part).above().tolist()]
        return cls(name, claim, tuple(effects), max(above), min(1.0, len(below) * min(below)))

    @property
    def p(self) -> float:
        """Two-sided p-value."""
        return min(1.0, 2 * min(self.holds, self.fails))

    def finding(self, scope: _Scope, p: float) -> Finding:
        """What the corrected p-value and the single x allow to say.

        A claim is decided by the mean over x; where enough single x say the opposite beyond doubt, it stays open.
        """
        held = self.holds < self.fails
        order = sorted(self.effects, key=lambda effect: float(effect.mean.above()))
        weakest = order[-1]  # what supports the claim least: all hold, or this one fails
        examined = self.effects if held else [weakest]
        crossed = max((_crossed(effect, held) for effect in examined), key=lambda item: item[1])
        decision: Decision = "supported" if held else "refuted"
        if p > LEVEL or (crossed[1] >= CROSSED and not self.claim.every):
            decision = "undecided"
        low, high = (float(end) for end in weakest.mean.interval())
        fewest = min((effect.fewest for effect in self.effects), key=lambda draws: len(draws.value))
        return Finding(
            self.name, self.claim.says, self.claim.source, scope.pair, scope.attack, decision,
            float(weakest.mean.value), low, high, weakest.unit, p, len(fewest.value),
            min(effect.mean.samples for effect in self.effects),
            " ".join(filter(None, [self._reason(decision, weakest, crossed, scope.axis), self.note])),
            self.claim.family, scope.labels, scope.threat, fewest.units, fewest.judged,
        )  # fmt: skip

    def _reason(self, decision: Decision, weakest: Effect, crossed: tuple[Sequence[float], float], axis: str) -> str:
        count = len(self.effects)
        what = (
            f"The weakest of {count} parts, {weakest.name}"
            if count > 1
            else weakest.name[:1].upper() + weakest.name[1:]
        )
        above, below = (_beyond(weakest, above=sign) for sign in (True, False))
        if decision == "undecided" and above and below:
            return f"{what}: above 0 at {axis} {_listed(axis, above)}, below at {_listed(axis, below)}."
        text = what
        if weakest.each and len(weakest.x) > 1:
            values = weakest.each.value.tolist()
            ends = [(value, weakest.x[values.index(value)]) for value in (min(values), max(values))]
            text += ": " + " to ".join(
                f"{_size(value, weakest.unit)} at {axis} {_listed(axis, [x])}" for value, x in ends
            )
        if decision == "undecided":
            return f"{text}.{self._doubt(weakest, axis)}"
        opposite, part = crossed
        if opposite and not self.claim.every:
            text += (
                f"; the opposite at {axis} {_listed(axis, opposite)}, {100 * part:.0f} % of the area between the curves"
            )
        return f"{text}."

    def _doubt(self, weakest: Effect, axis: str) -> str:
        """Why what is not contradicted is not decided either."""
        low, high = (float(end) for end in weakest.mean.interval())
        if low <= 0 <= high:
            return f" Too close to 0 for these {weakest.fewest.units} and samples."
        if self.claim.every and weakest.each and len(weakest.x) > 1:
            return f" Beyond doubt on the mean, but not at {'every' if axis == 'eps' else 'all'} {axis}."
        return f" Beyond doubt alone, but not among all {self.claim.family} claims judged here (Holm)."


def _beyond(effect: Effect, above: bool) -> list[float]:
    """The x at which an effect is above (or below) 0 beyond doubt, corrected for their number."""
    if effect.each is None:
        return []
    p = (effect.each if above else -effect.each).above().tolist()
    return [x for x, value in zip(effect.x, p, strict=True) if len(p) * value <= LEVEL / 2]


def _crossed(effect: Effect, held: bool) -> tuple[Sequence[float], float]:
    """The x at which an effect is beyond doubt the opposite of its mean, and their part of the area between curves."""
    opposite = _beyond(effect, above=not held)
    if effect.each is None or not opposite:
        return (), 0.0
    sizes = dict(zip(effect.x, effect.each.value.abs().tolist(), strict=True))
    return opposite, sum(sizes[x] for x in opposite) / sum(sizes.values())


Tests = Mapping[str, "_Test | MissingError"]


@dataclass(frozen=True)
class _Scope:
    """Places that a claim is decided over together.

    Attributes:
        threat: Name of the threat.
        axis: The word for what stands on its axis.
        attack: Attack and norm.
        pair: Title of the pair; empty over all pairs.
        labels: Which numbers of labels; empty over all of them.
        places: At least one.
    """

    threat: str
    axis: str
    attack: str
    pair: str
    labels: str
    places: tuple[Place, ...]

    @classmethod
    def all_of(cls, comparisons: Comparisons, threat: str, attack: str) -> list[_Scope]:
        """Over all places of an attack, over pairs at each number of labels, each pair, and each place."""
        places: dict[tuple[str, str], list[Place]] = {}
        for place in comparisons.places:
            if place.method == attack:
                title, labels = comparisons.title(place), comparisons.labels(place)
                for key in dict.fromkeys([("", ""), ("", labels), (title, ""), (title, labels)]):
                    places.setdefault(key, []).append(place)
        scopes = [cls(threat, comparisons.axis, attack, *key, tuple(together)) for key, together in places.items()]
        return sorted(scopes, key=lambda scope: (bool(scope.pair), bool(scope.labels)))

    def parts(self, scopes: Sequence[_Scope]) -> list[_Scope]:
        """Those of fewer places, each set of places once."""
        fewer = [scope for scope in scopes if set(scope.places) < set(self.places)]
        return list({scope.places: scope for scope in reversed(fewer)}.values())[::-1]


def decide(results: Sequence[Result[Any]]) -> tuple[Finding, ...]:
    """What the results say about every claim: the findings over all pairs first, then those of each pair.

    Within these, those over all numbers of labels come first. Each threat and each attack is decided for itself, by the
    claims of the threat. Red cells are never used. What cannot be decided is said over all pairs, once.
    """
    overall, single = list[Finding](), list[Finding]()
    for threat in dict.fromkeys(result.cell.threat for result in results):
        names = _names(threat)
        comparisons = Comparisons([result for result in results if result.cell.threat == threat])
        for attack in dict.fromkeys(place.method for place in comparisons.places):
            scopes = _Scope.all_of(comparisons, threat, attack)
            at = {place: _at(comparisons, names, place) for place in scopes[0].places}
            tests = {scope: {name: _over(name, comparisons, scope, at) for name in names} for scope in scopes}
            decided = {scope: _findings(scope, each) for scope, each in tests.items()}
            missing = _missing(tests)
            for scope, here in decided.items():
                parts = [finding for part in scope.parts(scopes) for finding in decided[part]]
                findings = [*(_agreed(finding, parts) for finding in here), *missing[scope]]
                (single if scope.pair else overall).extend(sorted(findings, key=lambda finding: _order(finding.claim)))
    return (*overall, *single)


def _names(threat: str) -> list[str]:
    """The claims about a threat, H2 before H10."""
    return sorted(
        (name for name in CLAIMS.names() if CLAIMS[name].of == threat), key=lambda name: _order(CLAIMS[name].id)
    )


def _at(comparisons: Comparisons, names: Sequence[str], place: Place) -> Tests:
    """The claims at a place: their tests, or what is missing."""
    measures = {name: measure for name in names if (measure := CLAIMS[name].place)}
    return {name: _tested(name, partial(measure, comparisons, place)) for name, measure in measures.items()}


def _tested(name: str, measure: Callable[[], Sequence[Effect]]) -> _Test | MissingError:
    """The test of what a claim measures, or why there is none."""
    title = CLAIMS[name].id
    try:
        return _Test.of(title, CLAIMS[name], measure())
    except MissingError as missing:
        return missing
    except Exception as error:  # noqa: BLE001  (a plugin may raise anything; the other claims are decided all the same)
        cause = " ".join(f"{type(error).__name__}: {error}".split()).rstrip(".:")
        return MissingError(f"claim {title} raised {cause}: mend its file {name}.py.")


def _over(name: str, comparisons: Comparisons, scope: _Scope, at: Mapping[Place, Tests]) -> _Test | MissingError:
    """A claim over the places of a scope, or why it cannot be decided."""
    claim = CLAIMS[name]
    if (claim.across_labels and scope.labels) or (claim.bench and scope.pair):
        return ElsewhereError("it is decided over more than this.")
    if claim.bench:
        return _tested(name, partial(claim.bench, comparisons, scope.places))
    tests = [at[place][name] for place in scope.places]
    missed = [test for test in tests if isinstance(test, MissingError)]
    effects: dict[str, list[Effect]] = {}
    for test in tests:
        for effect in test.effects if isinstance(test, _Test) else ():
            effects.setdefault(effect.name, []).append(effect)
    lacking = [missing for missing in missed if not isinstance(missing, ElsewhereError)]
    if not effects:
        return (lacking or missed)[0]
    what = "places" if len(tests) > len({comparisons.title(place) for place in scope.places}) else "pairs"
    note = f"Without {len(lacking)} of {len(tests)} {what}, since {lacking[0]}" if lacking else ""
    whole = _tested(name, lambda: [Effect.over(same) for same in effects.values()])
    return replace(whole, note=note) if isinstance(whole, _Test) else whole


def _findings(scope: _Scope, tests: Tests) -> list[Finding]:
    """Findings of a scope, in the order of the claims; Holm's correction within each family."""
    decidable = [test for test in tests.values() if isinstance(test, _Test)]
    p: dict[str, float] = {}
    for family in FAMILIES:
        members = [test for test in decidable if test.claim.family == family]
        p |= zip((test.name for test in members), holm([test.p for test in members]), strict=True)
    return [test.finding(scope, p[test.name]) for test in decidable]


def _missing(tests: Mapping[_Scope, Tests]) -> dict[_Scope, list[Finding]]:
    """What cannot be decided over all pairs; at a number of labels only where the claim is decided over all of them."""
    everywhere = next(iter(tests.values()))
    findings: dict[_Scope, list[Finding]] = {}
    for scope, each in tests.items():
        findings[scope] = [
            _not_judged(CLAIMS[name].id, CLAIMS[name], scope, str(missing))
            for name, missing in each.items()
            if not scope.pair and isinstance(missing, MissingError) and not isinstance(missing, ElsewhereError)
            if not scope.labels or isinstance(everywhere[name], _Test)
        ]
    return findings


def _not_judged(title: str, claim: Claim, scope: _Scope, reason: str) -> Finding:
    nan, reason = math.nan, reason[:1].upper() + reason[1:]
    return Finding(
        title, claim.says, claim.source, scope.pair, scope.attack, "not judged", nan, nan, nan, "share", nan, 0, 0,
        reason, claim.family, scope.labels, scope.threat,
    )  # fmt: skip


def _agreed(finding: Finding, parts: Sequence[Finding]) -> Finding:
    """Undecided where a part says the opposite of the mean: a pair, or a number of labels."""
    opposite = {"supported": "refuted", "refuted": "supported"}.get(finding.decision)
    names = [
        ", ".join(filter(None, [part.pair, part.labels]))
        for part in parts
        if part.claim == finding.claim and part.decision == opposite
    ]
    if not names:
        return finding
    reason = f"{finding.reason} The mean is {finding.decision}, but {'; '.join(names)} {opposite}."
    return replace(finding, decision="undecided", reason=reason)


def _order(name: str) -> tuple[bool, str, int]:
    """H2 before H10, and those about defenses (D) behind what the threat itself is about."""
    letters, digits = re.fullmatch(r"(.*?)(\d*)", name).groups()  # type: ignore[union-attr]
    return letters == "D", letters, int(digits or 0)


def _listed(axis: str, x: Sequence[float]) -> str:
    return ", ".join(map(eps_text if axis == "eps" else "{:g}".format, x))


def _size(value: float, unit: str) -> str:
    return f"{100 * value:+.1f} points" if unit == "share" else f"{value:+.2f}"
