"""CommonInit between Scratch and FineTune."""

from __future__ import annotations

from tl_robust.claims.claim import claim
from tl_robust.claims.comparisons import Comparisons, Place
from tl_robust.claims.effects import Effect


@claim(
    "Black-box accuracy with CommonInit lies between those with Scratch and FineTune.",
    "inferred from KDD 2020",
    id="H4",
)
def common_init_lies_between(comparisons: Comparisons, place: Place) -> list[Effect]:
    """Both steps, the mean over common domains."""
    return [
        comparisons.compare(place, "robust_accuracy", "black", more, less, f"black-box accuracy, {text}")
        for more, less, text in (
            ("scratch", "common_init", "Scratch over CommonInit"),
            ("common_init", "finetune", "CommonInit over FineTune"),
        )
    ]
