"""White-box accuracy under stronger attacks."""

from __future__ import annotations

from dataclasses import replace

from tl_robust.claims.claim import claim
from tl_robust.claims.comparisons import Comparisons, Place
from tl_robust.claims.effects import Effect, ElsewhereError, MissingError
from tl_robust.claims.named.finetune_resists_white_box import white_gain


@claim("H1 survives stronger attacks than FGSM; where it does not, it is gradient masking.", "ours", id="H7")
def stronger_attacks_agree(comparisons: Comparisons, place: Place) -> list[Effect]:
    """The effect of H1 under FGSM and under each other attack of the same norm."""
    if place.attack != "fgsm":
        raise ElsewhereError("it is decided beside FGSM.")
    others = [other for other in comparisons.places if replace(other, attack="fgsm") == place and other != place]
    if not others:
        raise MissingError("it needs FGSM and a stronger attack (axes.attack=[fgsm,pgd]).")
    effects = {where.attack: white_gain(comparisons, where) for where in (place, *others)}
    return [replace(effect, name=f"{attack}: {effect.name}") for attack, effect in effects.items()]
