"""What source H1 needs."""

from __future__ import annotations

from dataclasses import replace

from tl_robust.claims.claim import bench_claim
from tl_robust.claims.comparisons import Comparisons, Place
from tl_robust.claims.effects import Effect, MissingError
from tl_robust.claims.named.finetune_resists_white_box import white_gain


@bench_claim("H1 needs a harder or larger source (SVHN), and fails for MNIST to USPS.", "ours", id="H8")
def harder_source_needed(comparisons: Comparisons, places: tuple[Place, ...]) -> list[Effect]:
    """The effect of H1 over pairs from SVHN, and its opposite for MNIST to USPS."""
    hard = [place for place in places if "svhn" in place.source]
    easy = [place for place in places if (place.source, place.target) == ("mnist", "usps")]
    if not hard or not easy:
        raise MissingError("it needs a pair from SVHN and the pair mnist-usps.")
    effects = [Effect.over([white_gain(comparisons, place) for place in chosen]) for chosen in (hard, easy)]
    return [
        replace(effects[0], name=f"from SVHN: {effects[0].name}"),
        replace(effects[1].reversed(), name="MNIST to USPS: white-box accuracy, Scratch over FineTune"),
    ]
