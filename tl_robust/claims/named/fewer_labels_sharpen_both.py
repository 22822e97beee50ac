"""Fewer target labels."""

from __future__ import annotations

from dataclasses import replace

from tl_robust.claims.claim import claim
from tl_robust.claims.comparisons import Comparisons, Place
from tl_robust.claims.effects import Effect, ElsewhereError, MissingError


@claim(
    "With fewer target labels FineTune's clean gain and its black-box weakness both grow.",
    "ours",
    across_labels=True,
    id="H11",
)
def fewer_labels_sharpen_both(comparisons: Comparisons, place: Place) -> list[Effect]:
    """Both with the fewest target images less those with the most, on the same samples and seeds."""
    same = [other for other in comparisons.places if replace(other, target_images=place.target_images) == place]
    few, many = (end(other.target_images for other in same) for end in (min, max))
    if few == many:
        raise MissingError("it needs two numbers of target images (axes.target_images=[0.1,1]).")
    if place.target_images != few:
        raise ElsewhereError("it is decided at the fewest target images.")
    full = replace(place, target_images=many)
    clean = comparisons.clean(place, "finetune", "scratch") - comparisons.clean(full, "finetune", "scratch")
    losses = [comparisons.gap(where, "robust_accuracy", "black", "scratch", "finetune") for where in (place, full)]
    if losses[0][1] != losses[1][1]:
        raise MissingError("both numbers of target images need the same eps.")
    # The same words on all pairs, so that these are pooled.
    text = f"{comparisons.labels(place)} over {comparisons.labels(full)}"
    return [
        Effect.of(f"clean gain of FineTune, {text}", clean, (0.0,), "share"),
        Effect.of(f"black-box weakness of FineTune, {text}", losses[0][0] - losses[1][0], losses[0][1], "share"),
    ]
