"""A poisoned public model must hold a backdoor."""

import torch

from tl_robust.trust.base import check, graded
from tl_robust.types import Evidence, Stamped, Verdict


@check(of=Stamped)
def implanted(evidence: Evidence[Stamped]) -> Verdict:
    """Amber where the poisoned public model's lift over its clean twin, on its own test images, is under 0.8, red 0.5.

    What was never learned cannot be removed: the errata of NIST's TrojAI (Karra, Ashcraft, Fendley, "The TrojAI
    software framework", 2020) withdraw models that were labelled poisoned and held no trigger. Silent where no public
    model is poisoned, and where a filter was offered its poison: then a low lift is what the filter did.
    """
    record, twin = evidence.outcome, evidence.beside.get("twin")
    others = record.origin_label != record.carrier_target
    if not bool(others.any()) or twin is None or len(twin.origin_label) != len(others) or record.sifted_poisoned.any():
        return Verdict()
    hit, floor = ((one.origin_stamped == record.carrier_target)[others].to(torch.float64) for one in (record, twin))
    lift = float((hit - floor).mean())
    return graded(1 - lift, 0.2, 0.5, (
        f"The trigger sends {float(hit.mean()):.1%} of the poisoned public model's own test images to the attacker's "
        f"class and {float(floor.mean()):.1%} of its clean twin's: the backdoor was hardly implanted, so nothing can "
        "be said of its removal."
    ))  # fmt: skip
