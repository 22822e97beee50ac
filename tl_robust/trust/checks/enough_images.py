"""A share of few images is no share."""

from tl_robust.trust.base import check
from tl_robust.types import Evidence, Stamped, Verdict

FEWEST = 100


@check(of=Stamped)
def enough_images(evidence: Evidence[Stamped]) -> Verdict:
    """Amber where fewer than 100 test images are not of the attacker's class.

    An interval of a share of 100 reaches up to 10 points to either side, and nothing below 3.6 % can be told from 0
    (Clopper and Pearson 1934).
    """
    count = int(evidence.outcome.others.sum())
    if count >= FEWEST:
        return Verdict()
    return Verdict("amber", (
        f"Only {count} test images are not of the attacker's class, where at least {FEWEST} should be: use more test "
        "images.",
    ))  # fmt: skip
