"""Digits and objects."""

from __future__ import annotations

from dataclasses import replace

from tl_robust.claims.base import Effect, MissingError, bench_claim
from tl_robust.claims.h1 import white_gain
from tl_robust.claims.h2 import black_loss
from tl_robust.claims.h3 import ratio_gain
from tl_robust.claims.record import Place, Record


@bench_claim("H1 to H3 hold for objects as for digits.", "KDD 2020, text")
def h6(record: Record, places: tuple[Place, ...]) -> list[Effect]:
    """The effects of H1 to H3 over the pairs of digits, and over those of objects."""
    found = []
    for space in ("digits", "objects"):
        here = [place for place in places if record.space(place).partition("(")[0] == space]
        if not here:
            raise MissingError(f"it needs a pair of {space}.")
        for measure in (white_gain, black_loss, ratio_gain):
            effect = Effect.over([measure(record, place) for place in here])
            found.append(replace(effect, name=f"{space}: {effect.name}"))
    return found
