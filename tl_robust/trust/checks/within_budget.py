"""Adversarial images must be images, and within their budget."""

import torch
from torch import Tensor

from tl_robust.attacks.norms import get_norm
from tl_robust.trust.base import check, measured
from tl_robust.trust.subject import Subject
from tl_robust.types import Evidence, Verdict


def measure(subject: Subject) -> dict[str, Tensor]:
    """``rounding [1]``: the size of half a gray level in every value, by which rounding to 8 bits may exceed eps."""
    return {"rounding": get_norm(subject.norm).size(torch.full_like(subject.images[:1], 0.5 / 255)).double()}


@check(measure)
def within_budget(evidence: Evidence) -> Verdict:
    """Red where one adversarial image is not finite, outside [0,1] or larger than eps, before or after rounding.

    Carlini et al., "On evaluating adversarial robustness", 2019.
    """
    outcome = evidence.outcome
    reasons = []
    if bad := int((~outcome.valid).sum()):
        reasons.append(f"{bad} of {outcome.valid.numel()} adversarial images are not finite, leave [0,1] or eps.")
    for model in measured(evidence, "within_budget"):
        allowed = (outcome.eps + model["rounding"])[:, None] * (1 + 1e-4) + 1e-6
        if large := int((~(outcome.size <= allowed)).sum()):
            reasons.append(
                f"{large} of {outcome.size.numel()} adversarial images exceed eps by over half a gray level a value "
                "after rounding to 8 bits."
            )
    return Verdict("red" if reasons else "green", tuple(reasons))
