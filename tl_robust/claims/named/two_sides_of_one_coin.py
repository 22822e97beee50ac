"""The two sides of the same coin."""

from __future__ import annotations

from tl_robust.claims.claim import claim
from tl_robust.claims.comparisons import Comparisons, Place
from tl_robust.claims.effects import Effect
from tl_robust.claims.named.finetune_invites_transfer import black_loss
from tl_robust.claims.named.finetune_resists_white_box import white_gain


@claim("H1 and H2 hold on the same pair: the two sides of the same coin.", "KDD 2020, title", id="H5")
def two_sides_of_one_coin(comparisons: Comparisons, place: Place) -> list[Effect]:
    """The effects of H1 and H2."""
    return [white_gain(comparisons, place), black_loss(comparisons, place)]
