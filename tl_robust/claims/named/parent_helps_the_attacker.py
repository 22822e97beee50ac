"""The value of the parent."""

from __future__ import annotations

from tl_robust.claims.claim import claim
from tl_robust.claims.comparisons import Comparisons, Place
from tl_robust.claims.effects import Effect
from tl_robust.claims.memory import TARGET, has_sides, needs
from tl_robust.claims.survival import trigger
from tl_robust.claims.victims import FULL


@claim(
    "An attacker whose shadow models descend from the public parent finds more members than one who knows the recipe "
    "alone.",
    "Hidano et al., 2020 (TransMIA)",
    primary=True,
    id="M2",
    of="membership",
)
def parent_helps_the_attacker(comparisons: Comparisons, place: Place) -> list[Effect]:
    """``parent_value`` above 0 after the last epoch of full fine-tuning, said of the attacker without the parent."""
    tuned = has_sides(comparisons, TARGET, FULL)
    needs(
        comparisons, place, lambda where: knowledge(where) == "recipe" and tuned(where),
        "an attacker who knows the recipe alone, against full fine-tuning (axes.strategy=[finetune], "
        "axes.attack=[{name: rmia, knowledge: recipe}])",
    )  # fmt: skip
    name = "exposure after the last epoch, shadows of the lineage over shadows by the recipe"
    return [comparisons.below(place, "parent_value", TARGET, FULL, 0, name, last=True).reversed()]


def knowledge(place: Place) -> str:
    """What the shadows of an inference start from."""
    _, settings = trigger(place)
    return str(settings.get("knowledge", "lineage"))
