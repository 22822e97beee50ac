"""What a probe keeps of the source."""

from __future__ import annotations

from tl_robust.claims.claim import claim
from tl_robust.claims.comparisons import Comparisons, Place
from tl_robust.claims.effects import Effect
from tl_robust.claims.memory import SOURCE, needs, needs_epochs
from tl_robust.claims.victims import fine_tuned


@claim(
    "A probe keeps more than full fine-tuning of what its parent gives away of the source data, after every epoch.",
    "ours",
    every=True,
    primary=True,
    id="M4",
    of="membership",
)
def probes_keep_the_source(comparisons: Comparisons, place: Place) -> list[Effect]:
    """How much more ``retention_of_source`` a probe has than what differs in nothing else, at each epoch above 0.

    Both start from the same models. These differ in how much they give away, from pair to pair; so retention, which is
    relative to them, tells both apart with fewer pairs than ``auc`` does. Epochs at which it is not known to 0.1 do not
    count.
    """
    needs(
        comparisons, place, lambda where: bool(_probes(comparisons, where)),
        "a probe and full fine-tuning on the side source (axes.strategy=[finetune,{name: finetune, mode: probe}], "
        "axes.attack=[{name: rmia, side: source}])",
    )  # fmt: skip
    pairs = _probes(comparisons, place)
    needs_epochs(comparisons, place, {side for pair in pairs for side in pair}, 0)
    return [
        comparisons.compare(
            place, "retention_of_source", SOURCE, probe, full, f"retention of the source, {probe} over {full}"
        )
        for probe, full in pairs
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
