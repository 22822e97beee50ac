"""Which parent, and why, in one sentence."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tl_robust.auditor.origin.relation import Found

UNITS = {"weights": "filters", "features": "features"}


def found_text(kind: str, found: Sequence[Found], related: int, claimed: bool, kept: float) -> str:
    """Of evidence with p-values.

    Args:
        kind: ``weights`` or ``features``.
        found: All candidates, the closest first.
        related: How many of them, from the first on, have more in common with the model than chance gives.
        claimed: Whether the first is claimed.
        kept: How much of what the first has learned is in the model, where that is too little; else NaN.
    """
    first, units = found[0], UNITS[kind]
    figures = f"mean cosine of {units} {first.score:.3f}, {_p(first.p)}"
    if not related:
        who = first.name if len(found) == 1 else "any candidate"
        closest = "" if len(found) == 1 else f"closest {first.name}: "
        return (
            f"The model's {kind} have no more in common with those of {who} than if they were trained apart "
            f"({closest}{figures})."
        )
    if not math.isnan(kept):
        return (
            f"{first.name} and the model have the same start ({figures}), but what {first.name} has learned since is "
            f"not in the model (kept {kept:.2f} times as well as the rest), so that both may come from a third."
        )
    if claimed:
        next_one = f"; {found[1].name} is related, too: {found[1].score:.3f}" if related > 1 else ""
        return f"The model's {units} stand in the order of those of {first.name} ({figures}{next_one})."
    return (
        f"{first.name} and {found[1].name} are both related to the model ({figures}, and {found[1].score:.3f}), and it "
        "cannot be told which is closer: one of them comes from the other, or all from a third."
    )


def decided_text(ranked: Sequence[tuple[float, str]], claimed: bool, needed: float) -> str:
    """Of evidence by decisions.

    Args:
        ranked: Similarity and name, the closest first.
        claimed: Whether the first is claimed.
        needed: Lead of the first from which it is.
    """
    score, name = ranked[0]
    if len(ranked) == 1:
        return (
            f"The answers to noise are similar to those of {name} by {score:.2f}, which says nothing without others to "
            "compare with: give decoys, or files whose weights fit."
        )
    figures = f"similarity {score:.2f}, and {ranked[1][0]:.2f} of {ranked[1][1]}"
    if claimed:
        return f"The model answers to noise as {name} does, more than as any other candidate ({figures})."
    return (
        f"The answers to noise do not tell the candidates apart ({name} is closest with {figures}; a lead of "
        f"{needed:g} is needed)."
    )


def _p(p: float) -> str:
    return "p below 1e-9" if p < 1e-9 else f"p = {p:.2g} after correction for all candidates"
