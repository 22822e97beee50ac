"""A victim that knows nothing has no backdoor to speak of."""

from tl_robust.trust.base import check
from tl_robust.types import Evidence, Stamped, Verdict


@check(of=Stamped)
def some_right(evidence: Evidence[Stamped]) -> Verdict:
    """Red where the victim gets no image of another class right after the last epoch asked.

    A model that calls everything the attacker's class has an attack success of 100 % without any trigger, which is why
    TrojanZoo (Pang et al., EuroS&P 2022) guards it by accuracy.
    """
    record = evidence.outcome
    others = record.others
    if not bool(others.any()) or bool((record.clean[-1] == record.label)[others].any()):
        return Verdict()
    return Verdict("red", (
        f"After epoch {float(record.epochs[-1]):g} the victim is right on none of {int(others.sum())} clean images "
        "that are not of the attacker's class: its attack success says nothing of a trigger.",
    ))  # fmt: skip
