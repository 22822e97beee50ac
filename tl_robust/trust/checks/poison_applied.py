"""What the rate asks for must have been poisoned."""

from tl_robust.trust.base import check, graded
from tl_robust.types import Evidence, Stamped, Verdict


@check(of=Stamped)
def poison_applied(evidence: Evidence[Stamped]) -> Verdict:
    """Amber where less than 90 % of the poison that the rate asks for was applied, red under 50 %.

    A backdoor that leaves out images, as one that finds no room for its trigger may, is weaker than its rate says, and
    success hangs on such details: Schwarzschild et al., "Just how toxic is data poisoning?", ICML 2021. Silent where no
    poison was asked for.
    """
    asked, applied = (int(count) for count in evidence.outcome.poison[:2])
    if asked < 1:
        return Verdict()
    return graded(1 - applied / asked, 0.1, 0.5, (
        f"{applied} of the {asked} images that the rate asks for were poisoned: the backdoor is weaker than its rate "
        "says."
    ))  # fmt: skip
