"""How an ascent steps, one file each; a setting such as ``rule: momentum(decay=0.9)`` names one."""

from tl_robust.attacks.rules.base import RULES, Rule, Walk

__all__ = ["RULES", "Rule", "Walk"]
