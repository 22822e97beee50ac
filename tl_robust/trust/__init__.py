"""Whether a number is to be believed: one file a check.

``verdicts`` asks all checks in one call; ``examine`` measures a model, ``judge`` weighs the evidence.
"""

from tl_robust.trust.base import CHECKS, Check, check, examine, judge, worst
from tl_robust.trust.direct import verdicts
from tl_robust.trust.subject import Subject

__all__ = ["CHECKS", "Check", "Subject", "check", "examine", "judge", "verdicts", "worst"]
