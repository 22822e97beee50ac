"""Defending against A alone."""

from __future__ import annotations

from tl_robust.claims.claim import claim
from tl_robust.claims.comparisons import Comparisons, Place, Side
from tl_robust.claims.defended import defended
from tl_robust.claims.effects import Effect


@claim("Defending against A alone, by training on A's examples, costs white-box robustness.", "ours", id="D4")
def origin_at_costs_white_box(comparisons: Comparisons, place: Place) -> list[Effect]:
    """How much lower white-box accuracy under attack is with origin_at than without a defense, the mean over eps."""
    sides = defended(comparisons, place, ["origin_at"], ["white"])
    return [comparisons.compare(place, "robust_accuracy", "white", Side(side.strategy), side) for side in sides]
