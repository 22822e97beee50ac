"""Full fine-tuning at a lower learning rate than the recipe's."""

from __future__ import annotations

from tl_robust.claims.claim import claim
from tl_robust.claims.comparisons import Comparisons, Place
from tl_robust.claims.effects import Effect, MissingError
from tl_robust.claims.survival import fine_tuned, gone, learning_rate
from tl_robust.claims.victims import FULL


@claim("B1 holds at a lower learning rate than the recipe's, too.", "ours", id="B7", of="backdoor")
def slow_fine_tuning_removes_backdoors(comparisons: Comparisons, place: Place) -> list[Effect]:
    """How far lift is below the bound after the last epoch, at each lower rate."""
    victims = fine_tuned(comparisons, place)
    usual = learning_rate(comparisons, place, FULL)
    slow = [
        text
        for text, settings in victims.items()
        if settings.keys() == {"lr"} and learning_rate(comparisons, place, text) < usual
    ]
    if not slow:
        raise MissingError("it needs a lower learning rate (axes.strategy=[finetune,{name: finetune, lr: 0.001}]).")
    return [gone(comparisons, place, text) for text in slow]
