"""The declared parent can be the parent."""

from __future__ import annotations

from tl_robust.auditor.locks.base import Answer, lock
from tl_robust.auditor.origin import evidence_of
from tl_robust.auditor.subject import Subject


@lock(60)
def parent_plausible(subject: Subject) -> Answer:
    """Fails where the declared parent is clearly not it: another candidate is, or its weights fit and have no relation.

    See :mod:`tl_robust.auditor.origin`. It cannot be told where only decisions can be compared and none is singled out.
    """
    parent = subject.parent
    if parent is None:
        return Answer(None, "Not asked, since no parent is declared: name it with --parent.")
    found = evidence_of(subject)
    if found is None:
        return Answer(None, "Not asked, since the answers of a network are not all finite numbers.")
    own = next(candidate for candidate in found.candidates if candidate.name == parent.name)
    if found.claimed and found.claimed != parent.name:
        return Answer(False, f"{found.reason} {parent.name}, the declared parent, is farther: declare {found.claimed}.")
    if own.evidence == "weights" and parent.name in found.fits and not found.related:
        return Answer(False, f"{found.reason} Declare the model that it was made of.")
    if found.claimed or (parent.name in found.related[:2] and own.certainty > 0):
        return Answer(True, found.reason)
    return Answer(None, f"It cannot be told whether {parent.name} is the parent. {found.reason}")
