"""Black-box accuracy after fine-tuning and without it."""

from __future__ import annotations

from tl_robust.claims.claim import claim
from tl_robust.claims.comparisons import Comparisons, Place
from tl_robust.claims.effects import Effect


@claim(
    "Black-box accuracy under attack is lower with FineTune than with Scratch.",
    "KDD 2020, abstract",
    primary=True,
    id="H2",
)
def finetune_invites_transfer(comparisons: Comparisons, place: Place) -> list[Effect]:
    """Mean over eps of the difference."""
    return [black_loss(comparisons, place)]


def black_loss(comparisons: Comparisons, place: Place) -> Effect:
    """How much more accuracy Scratch keeps than FineTune in the black box."""
    name = "black-box accuracy, Scratch over FineTune"
    return comparisons.compare(place, "robust_accuracy", "black", "scratch", "finetune", name)
