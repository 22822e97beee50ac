"""What a probe keeps of the source."""

from __future__ import annotations

from tl_robust.claims.claim import claim
from tl_robust.claims.comparisons import Comparisons, Place
from tl_robust.claims.effects import Effect
from tl_robust.claims.memory import SOURCE, needs
from tl_robust.claims.victims import fine_tuned


@claim(
    "A probe gives away more of its parent's source data than full fine-tuning, after every epoch.",
    "ours",
    every=True,
    primary=True,
    id="M4",
    of="membership",
)
def probes_keep_the_source(comparisons: Comparisons, place: Place) -> list[Effect]:
    """How much larger ``auc`` is with a probe than with what differs in nothing else, at each epoch above 0.

    Both start from the same models, so the same epoch of both has the same ratio to epoch 0 (retention) in its order.
    """
    needs(
        comparisons, place, lambda where: bool(_probes(comparisons, where)),
        "a probe and full fine-tuning on the side source (axes.strategy=[finetune,{name: finetune, mode: probe}], "
        "axes.attack=[{name: rmia, side: source}])",
    )  # fmt: skip
    return [
        comparisons.compare(place, "auc", SOURCE, probe, full, f"exposure of the source, {probe} over {full}")
        for probe, full in _probes(comparisons, place)
    ]


def _probes(comparisons: Comparisons, place: Place) -> list[tuple[str, str]]:
    """Each probe, and the fully trained victim that differs in nothing else."""
    victims = fine_tuned(comparisons, place, SOURCE)
    return [
        (probe, full)
        for probe, settings in victims.items()
        for full, other in victims.items()
        if settings.get("mode") == "probe" and other == {key: value for key, value in settings.items() if key != "mode"}
    ]
