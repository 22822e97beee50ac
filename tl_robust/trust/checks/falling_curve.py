"""A larger budget contains the smaller one: accuracy must not rise with eps."""

import torch

from tl_robust.trust.base import check
from tl_robust.types import Evidence, Verdict


@check()
def falling_curve(evidence: Evidence) -> Verdict:
    """Amber where the surrogate's accuracy under its own attack rises by more than two standard errors with eps.

    The victim's curve may rise: examples crafted on another model carry no such promise. Carlini et al., "On
    evaluating adversarial robustness", 2019.
    """
    outcome = evidence.outcome
    order = outcome.eps.argsort()
    accuracy = (outcome.adv_a[order] == outcome.label_a).double().mean(dim=1)
    lowest_before = accuracy.cummin(0).values[:-1]
    rise = accuracy[1:] - lowest_before
    noise = 2 * (lowest_before * (1 - lowest_before) / len(outcome.label)).sqrt().clamp(min=1 / len(outcome.label))
    if not bool((rise > noise).any()):
        return Verdict()
    index = int(torch.where(rise > noise, rise, -1.0).argmax())
    eps, high, low = (
        float(value) for value in (outcome.eps[order][index + 1], accuracy[index + 1], lowest_before[index])
    )
    reason = f"The surrogate's accuracy rises to {high:.1%} at eps {eps:.4g} after {low:.1%}: the attack is weak there."
    return Verdict("amber", (reason,))
