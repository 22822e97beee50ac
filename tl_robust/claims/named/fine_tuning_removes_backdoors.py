"""Full fine-tuning."""

from __future__ import annotations

from tl_robust.claims.claim import claim
from tl_robust.claims.comparisons import Comparisons, Place
from tl_robust.claims.effects import Effect
from tl_robust.claims.survival import gone
from tl_robust.claims.victims import FULL


@claim(
    "Full fine-tuning at the recipe's learning rate brings lift below 5 points.",
    "Sha et al. 2022 (arXiv 2212.09067)",
    primary=True,
    id="B1",
    of="backdoor",
)
def fine_tuning_removes_backdoors(comparisons: Comparisons, place: Place) -> list[Effect]:
    """How far lift is below the bound after the last epoch.

    B1 to B3 are the primary claims: full, partly frozen or slow is what a user chooses between, and it is over this
    choice that the literature contradicts itself. B4 to B7 are about the attacker and about repairs.
    """
    return [gone(comparisons, place, FULL)]
