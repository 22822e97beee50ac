"""Black-box accuracy after fine-tuning and without it."""

from __future__ import annotations

from tl_robust.claims.claim import claim
from tl_robust.claims.effects import Effect
from tl_robust.claims.record import Place, Record


@claim(
    "Black-box accuracy under attack is lower with FineTune than with Scratch.",
    "KDD 2020, abstract",
    primary=True,
    id="H2",
)
def finetune_invites_transfer(record: Record, place: Place) -> list[Effect]:
    """Mean over eps of the difference."""
    return [black_loss(record, place)]


def black_loss(record: Record, place: Place) -> Effect:
    """How much more accuracy Scratch keeps than FineTune in the black box."""
    name = "black-box accuracy, Scratch over FineTune"
    return record.compare(place, "robust_accuracy", "black", "scratch", "finetune", name)
