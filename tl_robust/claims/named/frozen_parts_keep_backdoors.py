"""Fine-tuning with a frozen part."""

from __future__ import annotations

from tl_robust.claims.claim import claim
from tl_robust.claims.comparisons import Comparisons, Place
from tl_robust.claims.effects import Effect, MissingError
from tl_robust.claims.survival import fine_tuned, survives


@claim(
    "With a part of the network frozen (a probe, its first blocks) more of the backdoor survives than without.",
    "Yao et al., CCS 2019 (latent backdoors)",
    primary=True,
    id="B2",
    of="backdoor",
)
def frozen_parts_keep_backdoors(comparisons: Comparisons, place: Place) -> list[Effect]:
    """Each victim with a frozen part over the one that differs in nothing else, the mean over epochs."""
    victims = fine_tuned(comparisons, place)
    effects = []
    for text, settings in victims.items():
        if settings.get("mode") == "probe" or settings.get("blocks"):
            thawed = {name: value for name, value in settings.items() if name not in ("mode", "blocks")}
            effects += [survives(comparisons, place, text, other) for other in victims if victims[other] == thawed]
    if not effects:
        raise MissingError(
            "it needs full fine-tuning and a frozen part (axes.strategy=[finetune,{name: finetune, mode: probe}])."
        )
    return effects
