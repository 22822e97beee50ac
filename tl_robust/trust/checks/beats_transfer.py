"""An attack on the victim itself must do what a transferred one does."""

from torch import Tensor

from tl_robust.trust.base import check, measured, white_box, worst
from tl_robust.trust.paired import excess, match
from tl_robust.trust.subject import Subject
from tl_robust.types import Evidence, Verdict


def measure(subject: Subject) -> dict[str, Tensor]:
    """``pgd [E,S]``, bool: right on the clean image and fooled by PGD; ``right [S]``, bool."""
    return {"pgd": subject.pgd, "right": subject.right}


@check(measure, attacks=True)
def beats_transfer(evidence: Evidence) -> Verdict:
    """Amber or red (see :class:`Excess`) where images made on the surrogate fool the victim more than its own do.

    The victim's own are those of the same attack, where it iterates and was run, and those of PGD on the samples that
    were examined. Its gradients are then masked, and its white-box curve is too good. Athalye, Carlini, Wagner, ICML
    2018, section 3.1; Carlini et al., "On evaluating adversarial robustness", 2019.
    """
    if white_box(evidence.outcome):
        return Verdict()
    outcome, white = evidence.outcome, evidence.white
    right = outcome.clean_b == outcome.label
    transferred = right & (outcome.adv_b != outcome.label)
    pairs = []
    if white is not None and evidence.iterates:
        here, there = match(outcome.sample_id, white.sample_id)
        rows, white_rows = match(outcome.eps, white.eps)
        own = right[here] & (white.adv_b[white_rows] != white.label)[:, there]
        pairs.append(("the same attack on itself", outcome.eps[rows], transferred[rows][:, here], own))
    for model in measured(evidence, "beats_transfer", crafting=False, judging=True):
        here, there = match(outcome.sample_id, model.sample_id)
        rows, pgd_rows = match(outcome.eps, model.eps)
        both_right = right[here] & model["right"][there]
        own = model["pgd"][pgd_rows][:, there] & both_right
        pairs.append(("PGD on itself", outcome.eps[rows], transferred[rows][:, here] & both_right, own))
    verdicts = []
    for name, eps, first, second in pairs:
        if first.numel():
            gap = excess(first, second)
            verdicts.append(gap.verdict(
                f"The surrogate's images fool the victim on {gap.first:.1%} of samples but {name} on "
                f"{gap.second:.1%} at eps {float(eps[gap.index]):.4g}: the victim masks its gradients."
            ))  # fmt: skip
    return worst(verdicts)
