"""Adversarial training of B."""

from __future__ import annotations

from dataclasses import replace

from tl_robust.claims.claim import claim
from tl_robust.claims.comparisons import Comparisons, Place, Side
from tl_robust.claims.defended import defended
from tl_robust.claims.effects import Effect
from tl_robust.types import View

KINDS = ("pgd_at", "fgsm_rs", "trades")
PRICE = 0.03  # of clean accuracy
VIEWS: tuple[View, ...] = ("white", "black")


@claim(
    "Adversarial training of B helps in the white and in the black box, at a cost of less than 3 points of clean "
    "accuracy.",
    "ours",
    id="D3",
)
def adversarial_training_helps(comparisons: Comparisons, place: Place) -> list[Effect]:
    """Of each victim trained adversarially (pgd_at, fgsm_rs, trades): three effects beside its undefended twin.

    How much higher its accuracy under attack is in the white and in the black box, each the mean over eps; and 3 points
    less what its clean accuracy is lower.
    """
    sides = defended(comparisons, place, KINDS, VIEWS)
    return [effect for side in sides for effect in _effects(comparisons, place, side)]


def _effects(comparisons: Comparisons, place: Place, side: Side) -> list[Effect]:
    twin = Side(side.strategy)
    gains = [comparisons.compare(place, "robust_accuracy", view, side, twin) for view in VIEWS]
    kept = comparisons.clean(place, side, twin)
    room = replace(kept, value=kept.value + PRICE, again=kept.again + PRICE)
    return [*gains, Effect.of(f"3 points less the clean accuracy that {side} costs", room, (0.0,), "share")]
