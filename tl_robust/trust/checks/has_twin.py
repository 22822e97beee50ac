"""Attack success needs its floor."""

from tl_robust.trust.base import check
from tl_robust.types import Evidence, Stamped, Verdict


@check(of=Stamped)
def has_twin(evidence: Evidence[Stamped]) -> Verdict:
    """Red without the clean twin: the same victim made without poison, asked about the same stamped images.

    A trigger may send images to the attacker's class where there is no backdoor: in the logs of BadEncoder (Jia et al.,
    IEEE S&P 2022) a clean encoder has an attack success of 37.5 % on SVHN.
    """
    if "twin" in evidence.beside:
        return Verdict()
    return Verdict("red", (
        "There is no clean twin beside this victim: attack success without it may be what the trigger does to any "
        "model.",
    ))  # fmt: skip
