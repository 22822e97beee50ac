"""The two sides of the same coin."""

from __future__ import annotations

from tl_robust.claims.base import Effect, claim
from tl_robust.claims.h1 import white_gain
from tl_robust.claims.h2 import black_loss
from tl_robust.claims.record import Place, Record


@claim("H1 and H2 hold on the same pair: the two sides of the same coin.", "KDD 2020, title")
def h5(record: Record, place: Place) -> list[Effect]:
    """The effects of H1 and H2."""
    return [white_gain(record, place), black_loss(record, place)]
