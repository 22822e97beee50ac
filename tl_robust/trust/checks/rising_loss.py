"""An attack that refines its images must gain on what it maximizes."""

from tl_robust.trust.base import check, graded
from tl_robust.types import Evidence, Verdict


@check()
def rising_loss(evidence: Evidence) -> Verdict:
    """Amber where the objective fell for over a quarter of the samples that no eps fools, red for over half.

    Of attacks that iterate alone, and where at least ten samples are unfooled. An objective that stays where it was is
    no fall: a tiny eps may change nothing that float32 shows. Pintor et al., "Indicators of attack failure: debugging
    and improving optimization of adversarial examples", NeurIPS 2022 (non-increasing loss).
    """
    outcome = evidence.outcome
    unfooled = (outcome.adv_a == outcome.label_a).all(0)
    count = int(unfooled.sum())
    if not evidence.iterates or count < 10:
        return Verdict()
    share = float((outcome.loss_rise[unfooled] < -1e-6).double().mean())
    reason = (
        f"The attack's objective fell from first to last for {share:.0%} of the {count} samples that it never fools."
    )
    return graded(share, 0.25, 0.5, reason)
