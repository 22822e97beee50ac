"""More steps and restarts must change little."""

import torch
from torch import Tensor

from tl_robust import attacks
from tl_robust.trust.base import check, measured, white_box, worst
from tl_robust.trust.paired import excess, match
from tl_robust.trust.subject import Subject
from tl_robust.types import Evidence, Verdict


def measure(subject: Subject) -> dict[str, Tensor]:
    """``right [S]``, ``pgd [1,S]``, ``longer [1,S]``, bool: right on the clean image; fooled by PGD; by a longer one.

    At one eps, the ``place [1]``-th (int64) of those examined: there PGD leaves closest to half of the right
    samples, where two attacks differ most. The longer one has 40 steps, two restarts and maximizes the margin.
    """
    if not subject.eps:
        return {}
    left = subject.pgd.sum(1) - subject.right.sum() / 2
    index = len(left) - 1 - int(left.abs().flip(0).argmin())  # of equals the largest eps
    longer = attacks.get("pgd", norm=subject.norm, objective=subject.margin, steps=40, restarts=2)
    return {
        "right": subject.right, "pgd": subject.pgd[index, None], "place": torch.tensor([index]),
        "longer": subject.fooled(longer, [subject.eps[index]]),
    }  # fmt: skip


@check(measure, attacks=True)
def enough_steps(evidence: Evidence) -> Verdict:
    """Amber where PGD of 40 steps fools over 10 % of samples more than PGD of 10 or the attack itself, red over 25 %.

    2.5 and 4 standard errors at least (see :class:`Excess`). Only for attacks that iterate: one step promises nothing.
    The attack itself is compared where surrogate and victim are the same; one that aims at transfer may be weaker on
    its surrogate. Carlini et al., "On evaluating adversarial robustness", 2019 (attacks must have converged).
    """
    if not evidence.iterates:
        return Verdict()
    outcome, verdicts = evidence.outcome, []
    for model in measured(evidence, "enough_steps"):
        eps = model.eps[model["place"]]
        pairs = [("PGD of 10 steps", model["longer"], model["pgd"])]
        here, there = match(outcome.sample_id, model.sample_id)
        rows, _ = match(outcome.eps, eps)
        if white_box(outcome) and len(rows) and len(here):
            right = (outcome.clean_a == outcome.label_a)[here] & model["right"][there]
            own = (outcome.adv_a[rows] != outcome.label_a)[:, here] & right
            pairs.append(("the attack", model["longer"][:, there] & right, own))
        for name, longer, shorter in pairs:
            gap = excess(longer, shorter, 0.1, 0.25)
            verdicts.append(gap.verdict(
                f"PGD of 40 steps fools the surrogate on {gap.first:.0%} of samples but {name} on {gap.second:.0%} "
                f"at eps {float(eps):.4g}: it has not converged."
            ))  # fmt: skip
    return worst(verdicts)
