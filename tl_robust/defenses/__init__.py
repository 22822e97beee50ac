"""Defenses, one file each, with the attacks of those who know them. ``defenses.parse("squeeze(bits=3)")``."""

from tl_robust.defenses.adaptive import Adaptive
from tl_robust.defenses.base import DEFENSES, Defense, Lineage
from tl_robust.defenses.composed import Composed, build, compose, parse


def names() -> list[str]:
    """All defenses."""
    return DEFENSES.names()


__all__ = ["DEFENSES", "Adaptive", "Composed", "Defense", "Lineage", "build", "compose", "names", "parse"]
