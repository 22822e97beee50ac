"""What a network that knows nothing says of corrupted images says nothing."""

from tl_robust.trust.base import check
from tl_robust.trust.checks.above_chance import against_chance
from tl_robust.types import Corrupted, Evidence, Verdict


@check(of=Corrupted)
def knows_classes(evidence: Evidence[Corrupted]) -> Verdict:
    """Red where B is no better than chance on the images as they are: the tests of ``above_chance``, and ours.

    A constant answer is no knowledge of the images (Kuhn and Johnson, "Applied Predictive Modeling", 2013, 11.2).
    """
    return against_chance("The victim", evidence.outcome.clean, evidence.outcome.label)
