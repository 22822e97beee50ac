"""Two triggers."""

from __future__ import annotations

from tl_robust.claims.claim import claim
from tl_robust.claims.comparisons import Comparisons, Place
from tl_robust.claims.effects import Effect, ElsewhereError, MissingError
from tl_robust.claims.survival import VIEW, other_attacks, trigger
from tl_robust.claims.victims import FULL
from tl_robust.registry import Scalar

POISON = ("rate", "target", "labels")  # settings that are not of the trigger


@claim("Under full fine-tuning a blend dies before a patch.", "ours", id="B6", of="backdoor")
def blend_dies_before_patch(comparisons: Comparisons, place: Place) -> list[Effect]:
    """Lift of each patch over that of the blend, of the same target class and rate, the mean over epochs."""
    others = other_attacks(comparisons, place)
    if trigger(place)[0] != "blend" and any(trigger(other)[0] == "blend" for other in others):
        raise ElsewhereError("it is decided at the blend.")
    patches = [other for other in others if trigger(other)[0] == "patch" and _poison(other) == _poison(place)]
    if trigger(place)[0] != "blend" or not patches:
        raise MissingError("it needs a patch and a blend of the same poison rate (axes.attack=[patch,blend]).")
    return [
        comparisons.compare(patch, "lift", VIEW, FULL, FULL, f"lift with {FULL}, {patch.attack} over blend", than=place)
        for patch in patches
    ]


def _poison(place: Place) -> dict[str, Scalar]:
    return {name: value for name, value in trigger(place)[1].items() if name in POISON}
