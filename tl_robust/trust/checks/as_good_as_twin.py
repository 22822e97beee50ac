"""A backdoor must not be bought with accuracy."""

import torch

from tl_robust.trust.base import check, graded
from tl_robust.types import Evidence, Stamped, Verdict


@check(of=Stamped)
def as_good_as_twin(evidence: Evidence[Stamped]) -> Verdict:
    """Amber where the victim is right on over 5 points fewer clean images than its twin after the last epoch, red 20.

    A victim that is broken may send everything or nothing to the attacker's class. TrojanZoo (Pang et al., EuroS&P
    2022) calls attack success 0 from 5 points on; here the number stands, with this warning. Silent without a twin.
    """
    record, twin = evidence.outcome, evidence.beside.get("twin")
    if twin is None:
        return Verdict()
    right, usual = (float((one.clean[-1] == record.label).to(torch.float64).mean()) for one in (record, twin))
    return graded(round(usual - right, 9), 0.05, 0.2, (
        f"After epoch {float(record.epochs[-1]):g} the victim is right on {right:.1%} of clean images and its clean "
        f"twin on {usual:.1%}: the backdoored model is worse, so both cannot be compared."
    ))  # fmt: skip
