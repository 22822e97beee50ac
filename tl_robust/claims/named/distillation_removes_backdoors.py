"""Distillation."""

from __future__ import annotations

from tl_robust.claims.claim import claim
from tl_robust.claims.comparisons import Comparisons, Place
from tl_robust.claims.effects import Effect, MissingError
from tl_robust.claims.survival import VIEW, gone
from tl_robust.claims.victims import settings_of


@claim(
    "Distillation into fresh weights brings lift below 5 points where fine-tuning alone does not.",
    "Yoshida and Fujino, AISec 2020",
    id="B5",
    of="backdoor",
)
def distillation_removes_backdoors(comparisons: Comparisons, place: Place) -> list[Effect]:
    """How far lift is below the bound after the last epoch, of each victim that has more of it without a defense."""
    repaired = []
    for side in comparisons.sides(place, VIEW):
        settings = settings_of(side.defense, "distill")
        if settings is not None and settings.get("start", "fresh") == "fresh" and settings.get("weight", 1):
            repaired.append(side)
    if not repaired:
        raise MissingError("it needs distillation (axes.defense=[none,distill]).")
    left = [side for side in repaired if float(gone(comparisons, place, side.strategy).mean.value) < 0]
    if not left:
        raise MissingError("no backdoor was left to remove: without a defense all lifts are below 5 points.")
    return [gone(comparisons, place, side) for side in left]
