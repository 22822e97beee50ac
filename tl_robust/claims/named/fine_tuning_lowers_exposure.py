"""Exposure of the target after fine-tuning and without it."""

from __future__ import annotations

from tl_robust.claims.claim import claim
from tl_robust.claims.comparisons import Comparisons, Place
from tl_robust.claims.effects import Effect
from tl_robust.claims.memory import TARGET, has_sides, needs
from tl_robust.claims.victims import FULL


@claim(
    "A fine-tuned model gives away less of the target data it learned from than one trained from scratch.",
    "ours",
    primary=True,
    id="M1",
    of="membership",
)
def fine_tuning_lowers_exposure(comparisons: Comparisons, place: Place) -> list[Effect]:
    """How much larger ``auc`` is with Scratch after the last epoch, by the same inference."""
    needs(
        comparisons, place, has_sides(comparisons, TARGET, "scratch", FULL),
        "strategies scratch and finetune on the side target (axes.strategy=[scratch,finetune], axes.attack=[rmia])",
    )  # fmt: skip
    name = "exposure after the last epoch, Scratch over FineTune"
    return [comparisons.compare(place, "auc", TARGET, "scratch", FULL, name, last=True)]
