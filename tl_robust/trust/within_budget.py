"""Adversarial images must be images, and within their budget."""

from tl_robust.trust.base import CHECKS
from tl_robust.types import Outcome, Verdict


@CHECKS.register
def within_budget(outcome: Outcome) -> Verdict:
    """Red where one adversarial image is not finite, outside [0,1] or larger than eps."""
    bad = int((~outcome.valid).sum())
    if not bad:
        return Verdict()
    return Verdict("red", (f"{bad} of {outcome.valid.numel()} adversarial images are not finite, leave [0,1] or eps.",))
