"""Rates of poison."""

from __future__ import annotations

from tl_robust.claims.claim import claim
from tl_robust.claims.comparisons import Comparisons, Place
from tl_robust.claims.effects import Effect, ElsewhereError, MissingError
from tl_robust.claims.survival import VIEW, fine_tuned, other_attacks, poison_rate, trigger
from tl_robust.claims.victims import FULL
from tl_robust.registry import Scalar


@claim(
    "Of the same trigger, a backdoor of fewer poisoned images survives longer.",
    "Min et al., NeurIPS 2023 (FST)",
    id="B4",
    of="backdoor",
)
def rare_poison_lives_longer(comparisons: Comparisons, place: Place) -> list[Effect]:
    """Lift after full fine-tuning, the lowest rate over the highest, the mean over epochs; said at the lowest rate."""
    fine_tuned(comparisons, place)
    alike = {where: _alike(comparisons, where) for where in comparisons.places if comparisons.sides(where, VIEW)}
    if not any(len(set(rates.values())) > 1 for rates in alike.values()):
        raise MissingError("it needs two poison rates of a trigger (axes.attack=[patch,{name: patch, rate: 0.05}]).")
    rates = alike[place]
    rare, dense = min(rates, key=rates.__getitem__), max(rates, key=rates.__getitem__)
    if place != rare or rates[rare] == rates[dense]:
        raise ElsewhereError("it is decided at the lowest poison rate of a trigger with several.")
    name = f"lift with {FULL}, a poison rate of {rates[rare]:.2g} over {rates[dense]:.2g}"
    return [comparisons.compare(place, "lift", VIEW, FULL, FULL, name, than=dense)]


def _alike(comparisons: Comparisons, place: Place) -> dict[Place, float]:
    """Places with the same trigger and their rates of poison."""

    def but_rate(where: Place) -> tuple[str, dict[str, Scalar]]:
        name, settings = trigger(where)
        return name, {key: value for key, value in settings.items() if key != "rate"}

    same = [other for other in other_attacks(comparisons, place) if but_rate(other) == but_rate(place)]
    return {other: poison_rate(comparisons, other) for other in same if comparisons.sides(other, VIEW)}
