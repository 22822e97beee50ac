"""Whether a number is to be believed: one file a check, each a pure function of an outcome."""

from tl_robust.trust.base import CHECKS, Check, judge

__all__ = ["CHECKS", "Check", "judge"]
