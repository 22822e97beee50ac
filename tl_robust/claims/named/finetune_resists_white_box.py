"""White-box accuracy after fine-tuning and without it."""

from __future__ import annotations

from tl_robust.claims.claim import claim
from tl_robust.claims.comparisons import Comparisons, Place
from tl_robust.claims.effects import Effect


@claim(
    "White-box accuracy under attack is higher with FineTune than with Scratch at equal eps.",
    "KDD 2020, abstract",
    primary=True,
    id="H1",
)
def finetune_resists_white_box(comparisons: Comparisons, place: Place) -> list[Effect]:
    """Mean over eps of the difference."""
    return [white_gain(comparisons, place)]


def white_gain(comparisons: Comparisons, place: Place) -> Effect:
    """How much more accuracy FineTune keeps than Scratch in the white box."""
    name = "white-box accuracy, FineTune over Scratch"
    return comparisons.compare(place, "robust_accuracy", "white", "finetune", "scratch", name)
