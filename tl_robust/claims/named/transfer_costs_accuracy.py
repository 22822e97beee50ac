"""What the attack costs after fine-tuning and without it."""

from __future__ import annotations

from tl_robust.claims.claim import claim
from tl_robust.claims.effects import Effect
from tl_robust.claims.record import Place, Record


@claim("A's examples cost FineTune more accuracy (clean minus attacked) than Scratch.", "ours", id="H13")
def transfer_costs_accuracy(record: Record, place: Place) -> list[Effect]:
    """Mean over eps of the difference of drops: H2 without what fine-tuning adds to the clean accuracy."""
    name = "accuracy lost in the black box, FineTune over Scratch"
    return [record.compare(place, "accuracy_drop", "black", "finetune", "scratch", name)]
