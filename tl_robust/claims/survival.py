"""What claims about backdoors ask a bench: which victims it fine-tuned, and how much of the backdoor each still has.

They speak of a poisoned pre-training, and of lift: attack success less that of the clean twin, image by image. That it
is gone means a lift below 5 points after the last epoch that a bench asks for. Longer and more mean a higher mean over
the epochs that it asks for, those above 0: the area under the survival curve, which depends on what these are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from tl_robust.claims import victims
from tl_robust.claims.comparisons import Comparisons, Place, Side
from tl_robust.claims.effects import Effect, MissingError
from tl_robust.claims.victims import FULL, settings_of
from tl_robust.registry import Scalar

VIEW = "source"  # the public model has the backdoor
GONE = 0.05  # a lift below this

Settings = Mapping[str, Scalar]


def fine_tuned(comparisons: Comparisons, place: Place) -> dict[str, dict[str, Scalar]]:
    """Undefended victims that were fine-tuned from a poisoned public model, as tables name them, with their settings.

    Raises:
        MissingError: There is none.
    """
    found = victims.fine_tuned(comparisons, place, VIEW)
    if not found:
        raise MissingError("it needs victims fine-tuned from a poisoned public model (into: source).")
    return found


def learning_rate(comparisons: Comparisons, place: Place, strategy: str) -> float:
    """What an undefended victim was fine-tuned with: its own learning rate, or that of the recipe.

    Raises:
        MissingError: It was not run, or its recipe was not recorded.
    """
    own = (settings_of(strategy, FULL) or {}).get("lr")
    if isinstance(own, float | int) and own:
        return float(own)
    made = [result.provenance.get("victim", {}) for result in comparisons.results(place, strategy, VIEW)]
    if not made or not isinstance(usual := made[0].get("lr"), float | int):
        raise MissingError(f"the learning rate of strategy {strategy} is not known here.")
    return float(usual)


def other_attacks(comparisons: Comparisons, place: Place) -> list[Place]:
    """The places that differ in the attack alone, this one among them."""
    return [other for other in comparisons.places if replace(other, attack=place.attack) == place]


def trigger(place: Place) -> tuple[str, dict[str, Scalar]]:
    """Name and settings of the backdoor of a place, those at their defaults left out."""
    name = place.attack.partition("(")[0]
    return name, settings_of(place.attack, name) or {}


def poison_rate(comparisons: Comparisons, place: Place) -> float:
    """Poisoned share of the images that the public model learned from.

    Raises:
        MissingError: Nothing was fine-tuned from it.
    """
    strategy = next(iter(fine_tuned(comparisons, place)))
    _, poisoned, learned, _ = comparisons.results(place, strategy, VIEW)[0].outcome.poison.tolist()
    return float(poisoned / learned)


def gone(comparisons: Comparisons, place: Place, side: Side | str) -> Effect:
    """How far lift is below 5 points after the last epoch."""
    name = f"5 points less the lift after the last epoch, {side}"
    return comparisons.below(place, "lift", VIEW, side, GONE, name, last=True)


def survives(comparisons: Comparisons, place: Place, more: str, less: str) -> Effect:
    """How much more lift a victim has than another one, the mean over epochs."""
    return comparisons.compare(place, "lift", VIEW, more, less, f"lift, {more} over {less}")
