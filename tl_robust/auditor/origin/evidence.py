"""Candidates by one kind of evidence, which is the same for all of them, and the rule by which one is claimed.

Weights and features have a null distribution in closed form, so that each candidate has a p-value, corrected for their
number. The closest is claimed where that is at most 0.01 and it is surely closer than the next that is related, too. Of
weights, what it has learned must be in the model as well; of features, which stay closer to those of other children
that learned the same than to a parent's, no other may be related. Its certainty is :func:`chance.posterior`, times the
chance that it is closer than the next. Decisions have a rule of their own: see
:mod:`tl_robust.auditor.origin.decisions`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tl_robust.audit.record import Candidate
from tl_robust.auditor.origin import decisions, features, weights
from tl_robust.auditor.origin.chance import closer, holm, posterior, upper_tail
from tl_robust.auditor.origin.relation import Found, Relation
from tl_robust.auditor.origin.sentences import decided_text, found_text
from tl_robust.auditor.subject import Subject

LEVEL = 0.01  # corrected p-value up to which a relation is no chance
KEPT = 0.9  # see weights.kept: up to it a candidate shares the start and not what it has learned
SURE = 0.95  # that a candidate is closer than the next
MEDIAN = {"weights": 90.0, "features": 16.0}  # z of children, of the first seeds of experiments/lineage


@dataclass(frozen=True)
class Evidence:
    """What was found.

    Attributes:
        candidates: The closest first.
        claimed: Name of the first, or empty.
        related: Names of those that have more in common with the model than chance gives; of decisions, which have no
            absolute rule, the claimed one.
        reason: One sentence.
        fits: Names of those that could be compared at all.
    """

    candidates: tuple[Candidate, ...]
    claimed: str
    related: tuple[str, ...]
    reason: str
    fits: tuple[str, ...]


def by_weights(subject: Subject) -> Evidence | None:
    """Evidence of the weights; None where they fit those of no candidate."""
    pairs = [weights.compared(subject.model.network, one.network) for one in subject.candidates]
    found = [weights.relation(pair) if pair else None for pair in pairs]
    if not any(found):
        return None
    first = _order(found)[0]
    return _absolute(subject, found, "weights", weights.kept(pairs[first]) if pairs[first] else 0.0)


def by_features(subject: Subject) -> Evidence | None:
    """Evidence of the features; None where the networks do not all give equally many."""
    own = features.units(subject.model.network, subject.images)
    others = [features.units(one.network, subject.images) for one in subject.candidates] if own is not None else [None]
    found = [
        features.relation(own, one) for one in others if one is not None and own is not None and one.shape == own.shape
    ]
    return _absolute(subject, found, "features") if len(found) == len(others) else None


def by_decisions(subject: Subject) -> Evidence | None:
    """Evidence of what the networks answer to noise; None where an answer is not finite."""
    channels, height, width = subject.images.images.shape[1:]
    asked = decisions.questions((channels, height, width), subject.seed)
    own, *others = (decisions.answers(one.network, asked) for one in (subject.model, *subject.candidates))
    names = [one.name for one in subject.candidates]
    scores = [decisions.similarity(own, other) for other in others if own is not None and other is not None]
    if len(scores) < len(names):
        return None
    ranked = sorted(zip(scores, names, strict=True), key=lambda one: -one[0])
    margin = ranked[0][0] - ranked[1][0] if len(ranked) > 1 else math.nan
    claimed = ranked[0][1] if margin >= decisions.CLAIMED else ""
    certain = [decisions.posterior(margin), *[math.nan] * (len(ranked) - 1)]
    candidates = tuple(
        Candidate(name, score, sure, "decisions") for (score, name), sure in zip(ranked, certain, strict=True)
    )
    reason = decided_text(ranked, bool(claimed), decisions.CLAIMED)
    return Evidence(candidates, claimed, (claimed,) if claimed else (), reason, tuple(names))


def _order(found: Sequence[Relation | None]) -> list[int]:
    """Places of the closest first; of equals the one that was named first."""
    return sorted(range(len(found)), key=lambda place: -_score(found[place]))


def _score(relation: Relation | None) -> float:
    return relation.score if relation else 0.0


def _absolute(subject: Subject, found: Sequence[Relation | None], kind: str, kept: float = math.inf) -> Evidence:
    names = [one.name for one in subject.candidates]
    p = holm([upper_tail(one.z) if one else 1.0 for one in found])
    order = _order(found)
    related = [place for place in order if p[place] <= LEVEL and _score(found[place]) > 0]
    related = related if related[:1] == order[:1] else []  # the closest itself must be beyond chance
    lead = _lead(found, related, kind)
    sure = [posterior(one.z, len(names), MEDIAN[kind]) if one else 0.0 for one in found]
    whole = sure[order[0]]
    if related:
        sure = [chance * (1 - lead) if place in related else chance for place, chance in enumerate(sure)]
        sure[related[0]] = whole * lead if kept > KEPT else 0.0
    claimed = names[related[0]] if related and kept > KEPT and lead >= SURE else ""
    said = [Found(names[place], _score(found[place]), p[place]) for place in order]
    return Evidence(
        tuple(Candidate(names[place], _score(found[place]), sure[place], kind) for place in order),
        claimed,
        tuple(names[place] for place in related),
        found_text(kind, said, len(related), bool(claimed), kept if kept <= KEPT else math.nan),
        tuple(name for name, one in zip(names, found, strict=True) if one),
    )


def _lead(found: Sequence[Relation | None], related: Sequence[int], kind: str) -> float:
    """How likely the first of the related is closer than the next."""
    if len(related) < 2:
        return 1.0
    one, other = found[related[0]], found[related[1]]
    assert one
    assert other
    return closer(one.alike, other.alike) if kind == "weights" and one.alike.shape == other.alike.shape else 0.5
