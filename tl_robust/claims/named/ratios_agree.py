"""The other two ratios."""

from __future__ import annotations

from tl_robust.claims.claim import claim
from tl_robust.claims.comparisons import Comparisons, Place
from tl_robust.claims.effects import Effect
from tl_robust.claims.named.finetune_raises_transfer_ratio import ratio_gain


@claim("The strategies' order by `transfer_ratio` is the same by `surrogate_ratio` and `match_rate`.", "ours", id="H9")
def ratios_agree(comparisons: Comparisons, place: Place) -> list[Effect]:
    """The three differences, all turned so that that of the transfer ratio is above 0."""
    effects = [ratio_gain(comparisons, place, metric) for metric in ("transfer_ratio", "surrogate_ratio", "match_rate")]
    return effects if float(effects[0].mean.value) >= 0 else [effect.reversed() for effect in effects]
