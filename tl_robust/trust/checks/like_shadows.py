"""Shadows must be as good as their victims."""

import torch

from tl_robust.trust.base import check
from tl_robust.types import Evidence, Exposure, Verdict

APART = 0.03


@check(of=Exposure)
def like_shadows(evidence: Evidence[Exposure]) -> Verdict:
    """Amber where victims and shadows differ by more than 3 points in test accuracy after the last epoch.

    What shadows say of a sample is then no measure for the victim, so that the attack is weaker than one with shadows
    made as the victim was (Carlini and others, "Membership inference attacks from first principles", 2022).
    """
    record = evidence.outcome
    victims, shadows = (float(right[-1].to(torch.float64).mean()) for right in (record.test_right, record.shadow_right))
    if int(record.shadows) == 0 or round(abs(victims - shadows), 9) <= APART:
        return Verdict()
    return Verdict("amber", (
        f"The victims are right on {victims:.1%} of test images and the shadows on {shadows:.1%}: such shadows are a "
        "poor measure, so that a better attacker may find more.",
    ))  # fmt: skip
