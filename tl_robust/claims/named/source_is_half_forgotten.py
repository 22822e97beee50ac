"""How soon the source is forgotten."""

from __future__ import annotations

from tl_robust.claims.claim import claim
from tl_robust.claims.comparisons import Comparisons, Place
from tl_robust.claims.effects import Effect
from tl_robust.claims.memory import SOURCE, has_sides, needs, needs_epochs
from tl_robust.claims.victims import FULL

HALF = 0.5  # of what the public model gives away
WITHIN = 1  # epochs of fine-tuning


@claim(
    f"Within {WITHIN} epoch of full fine-tuning a model loses half of what its parent gives away of the source data.",
    "ours",
    primary=True,
    id="M3",
    of="membership",
)
def source_is_half_forgotten(comparisons: Comparisons, place: Place) -> list[Effect]:
    """How far ``retention_of_source`` is below one half after that epoch."""
    needs(
        comparisons, place, has_sides(comparisons, SOURCE, FULL),
        "full fine-tuning on the side source (axes.strategy=[finetune], axes.attack=[{name: rmia, side: source}])",
    )  # fmt: skip
    needs_epochs(comparisons, place, [FULL], 0, WITHIN)
    name = f"{HALF:g} less the retention of the source after epoch {WITHIN}, {FULL}"
    return [comparisons.below(place, "retention_of_source", SOURCE, FULL, HALF, name, at=WITHIN)]
