"""A defense must be poisoned by someone who knows it."""

from tl_robust.trust.base import check
from tl_robust.types import Evidence, Stamped, Verdict


@check(of=Stamped)
def poisoned_knowingly(evidence: Evidence[Stamped]) -> Verdict:
    """Red where no attacker who knows the defense poisons a defended model.

    Tramer, Carlini, Brendel, Madry, "On adaptive attacks to adversarial example defenses", NeurIPS 2020.
    """
    if evidence.untried:
        return Verdict(
            "red", (f"Nobody here who poisons knows the defense, which proves nothing for it: {evidence.untried}",)
        )
    return Verdict()
