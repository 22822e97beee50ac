"""Breaking the lineage, against an attacker who has A."""

from __future__ import annotations

from tl_robust.claims.claim import claim
from tl_robust.claims.comparisons import Comparisons, Place
from tl_robust.claims.defended import removed
from tl_robust.claims.effects import Effect


@claim(
    "A defense that breaks only the lineage (distillation into fresh weights, a private origin, reset, Renofeation) "
    "removes the black-box weakness against A.",
    "ours",
    id="D1",
)
def broken_lineage_stops_transfer(comparisons: Comparisons, place: Place) -> list[Effect]:
    """A's examples cost each defended victim less than half of what they cost the undefended one; mean over eps."""
    return removed(comparisons, place, "black")
