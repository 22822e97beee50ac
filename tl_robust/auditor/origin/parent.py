"""Which of the candidates a model comes from: the best evidence that all of them have."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from tl_robust.audit.record import Candidate, Origin
from tl_robust.audit.terms import terms_of
from tl_robust.auditor.origin.evidence import Evidence, by_decisions, by_features, by_weights
from tl_robust.auditor.subject import Subject
from tl_robust.types import Verdict

KINDS: Mapping[str, Callable[[Subject], Evidence | None]] = {
    "weights": by_weights,
    "features": by_features,
    "decisions": by_decisions,
}
"""Ways to compare a model with its candidates, the surest first."""


def evidence_of(subject: Subject) -> Evidence | None:
    """The surest evidence that can be had of all candidates; None where there are none, or no answer is finite.

    Weights that fit some candidates alone count where one of these is related: the others cannot be, as to weights.
    """
    if not subject.candidates:
        return None
    for gather in KINDS.values():
        found = gather(subject)
        if found and (found.related or len(found.fits) == len(subject.candidates)):
            return found
    return None


def origin(subject: Subject) -> Origin | None:
    """Which candidate the model comes from; None where there are no candidates.

    What is said here an attacker can find out, too, who has the model (weights, features) or may ask it (decisions).
    """
    if not subject.candidates:
        return None
    terms = terms_of("", name="which_parent")
    found = evidence_of(subject)
    if found is None:
        unknown = tuple(Candidate(one.name, 0.0, math.nan, "decisions") for one in subject.candidates)
        why = "The answers of a network are not all finite numbers, so nothing can be compared: repair its weights."
        return Origin(unknown, "", why, Verdict("red", (why,)), terms)
    trust = Verdict()
    if found.candidates[0].evidence == "decisions":
        trust = Verdict("amber", ("By decisions alone many parents are not found: give files whose weights fit.",))
    return Origin(found.candidates, found.claimed, found.reason, trust, terms)
