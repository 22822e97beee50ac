"""Attacks: pure functions of any callable that maps [0,1] images to logits. ``attacks.get("pgd", steps=10)``."""

from tl_robust.attacks.base import ATTACKS, Attack, Crafted
from tl_robust.attacks.judge import Judge, evaluate
from tl_robust.attacks.named.ascent import Ascent
from tl_robust.attacks.problem import Problem, Seen
from tl_robust.registry import Scalar, check_settings


def get(name: str, **settings: Scalar) -> Attack:
    """The attack of a name with settings.

    Raises:
        UnknownNameError: No such attack or setting; the message shows the closest.
        ConfigError: A setting of the wrong type or outside its range.
    """
    kind = ATTACKS[name]
    return kind(**check_settings(f"attack {name!r}", kind, settings))  # type: ignore[arg-type]


def names() -> list[str]:
    """All attacks."""
    return ATTACKS.names()


__all__ = ["ATTACKS", "Ascent", "Attack", "Crafted", "Judge", "Problem", "Seen", "evaluate", "get", "names"]
