"""Transfer ratio after fine-tuning and without it."""

from __future__ import annotations

from tl_robust.claims.claim import claim
from tl_robust.claims.comparisons import Comparisons, Place
from tl_robust.claims.effects import Effect


@claim(
    "`transfer_ratio` is higher with FineTune than with Scratch at every eps.",
    "KDD 2020, abstract",
    every=True,
    id="H3",
)
def finetune_raises_transfer_ratio(comparisons: Comparisons, place: Place) -> list[Effect]:
    """The difference at each eps at which both ratios are known."""
    return [ratio_gain(comparisons, place)]


def ratio_gain(comparisons: Comparisons, place: Place, metric: str = "transfer_ratio") -> Effect:
    """How much higher a ratio is with FineTune than with Scratch."""
    return comparisons.compare(place, metric, "black", "finetune", "scratch", f"{metric}, FineTune over Scratch")
