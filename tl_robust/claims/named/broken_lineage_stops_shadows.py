"""Breaking the lineage, against an attacker who breaks it as well."""

from __future__ import annotations

from tl_robust.claims.claim import claim
from tl_robust.claims.comparisons import Comparisons, Place
from tl_robust.claims.defended import removed
from tl_robust.claims.effects import Effect


@claim(
    "A defense that breaks only the lineage removes the black-box weakness against a shadow, too: an attacker who "
    "repeats the defense from the public A.",
    "ours",
    id="D2",
)
def broken_lineage_stops_shadows(comparisons: Comparisons, place: Place) -> list[Effect]:
    """D1 in the view shadow: the undefended victim is attacked from a shadow as well, an undefended one."""
    return removed(comparisons, place, "shadow")
