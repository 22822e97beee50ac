"""An undefended model gives every image a class."""

from tl_robust.trust.base import check
from tl_robust.types import Evidence, Stamped, Verdict


@check(of=Stamped)
def gives_classes(evidence: Evidence[Stamped]) -> Verdict:
    """Red where a model gives an image no class though no defense could have refused it.

    Its logits are not finite there, and what is not sent to class t by this is no merit. Looks at the victim and its
    clean twin, where neither is defended, and at the public model. Carlini et al., "On evaluating adversarial
    robustness", 2019, ask the same of models under attack.
    """
    record, twin = evidence.outcome, evidence.beside.get("twin")
    defended = "plain" in evidence.beside or bool(record.suspicion_clean.any() or record.suspicion_stamped.any())
    asked = [] if defended else [("victim", [record.clean, record.stamped])]
    if twin is not None and not defended:
        asked.append(("clean twin", [twin.clean, twin.stamped]))
    public = [record.origin_clean, record.origin_stamped] + [record.carrier] * (int(record.carrier_target) >= 0)
    asked.append(("poisoned public model", public))
    reasons = [
        f"The {who} gives no class in {count} of {sum(answers.numel() for answers in said)} answers though no defense "
        "refuses any image: its logits are not finite there."
        for who, said in asked
        if (count := sum(int((answers == -1).sum()) for answers in said))
    ]
    return Verdict("red" if reasons else "green", tuple(reasons))
