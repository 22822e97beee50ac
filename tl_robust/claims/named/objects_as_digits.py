"""Digits and objects."""

from __future__ import annotations

from dataclasses import replace

from tl_robust.claims.claim import bench_claim
from tl_robust.claims.comparisons import Comparisons, Place
from tl_robust.claims.effects import Effect, MissingError
from tl_robust.claims.named.finetune_invites_transfer import black_loss
from tl_robust.claims.named.finetune_raises_transfer_ratio import ratio_gain
from tl_robust.claims.named.finetune_resists_white_box import white_gain


@bench_claim("H1 to H3 hold for objects as for digits.", "KDD 2020, text", id="H6")
def objects_as_digits(comparisons: Comparisons, places: tuple[Place, ...]) -> list[Effect]:
    """The effects of H1 to H3 over the pairs of digits, and over those of objects."""
    effects = []
    for space in ("digits", "objects"):
        here = [place for place in places if comparisons.space(place).partition("(")[0] == space]
        if not here:
            raise MissingError(f"it needs a pair of {space}.")
        for measure in (white_gain, black_loss, ratio_gain):
            effect = Effect.over([measure(comparisons, place) for place in here])
            effects.append(replace(effect, name=f"{space}: {effect.name}"))
    return effects
