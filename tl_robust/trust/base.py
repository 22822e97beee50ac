"""Checks and their sum: the worst level wins, every reason is kept."""

from __future__ import annotations

from collections.abc import Callable

from tl_robust.registry import Registry
from tl_robust.types import Level, Outcome, Verdict

Check = Callable[[Outcome], Verdict]
CHECKS: Registry[Check] = Registry("trust check", "tl_robust.trust")
LEVELS: tuple[Level, ...] = ("green", "amber", "red")


def judge(outcome: Outcome) -> Verdict:
    """The verdict of all checks on one outcome."""
    return worst([CHECKS[name](outcome) for name in CHECKS.names()])


def worst(verdicts: list[Verdict]) -> Verdict:
    """The worst level of several verdicts, with all reasons once."""
    level = max((verdict.level for verdict in verdicts), key=LEVELS.index, default=LEVELS[0])
    return Verdict(level, tuple(dict.fromkeys(reason for verdict in verdicts for reason in verdict.reasons)))
