"""What the attack costs after fine-tuning and without it."""

from __future__ import annotations

from tl_robust.claims.claim import claim
from tl_robust.claims.comparisons import Comparisons, Place
from tl_robust.claims.effects import Effect


@claim("A's examples cost FineTune more accuracy (clean minus attacked) than Scratch.", "ours", id="H13")
def transfer_costs_accuracy(comparisons: Comparisons, place: Place) -> list[Effect]:
    """Mean over eps of the difference of drops: H2 without what fine-tuning adds to the clean accuracy."""
    name = "accuracy lost in the black box, FineTune over Scratch"
    return [comparisons.compare(place, "accuracy_drop", "black", "finetune", "scratch", name)]
