"""Backdoors: triggers by name, one file each. ``backdoors.get("patch", rate=0.05)``."""

from typing import Any

from tl_robust.backdoors.base import BACKDOORS, Backdoor, Poisoned
from tl_robust.registry import Component, Scalar, check_settings


def get(name: str, **settings: Scalar) -> Backdoor:
    """The backdoor of a name.

    Raises:
        UnknownNameError: No such backdoor or setting; the message shows the closest.
        ConfigError: A setting of the wrong type or outside its range.
    """
    checked: dict[str, Any] = check_settings(f"backdoor {name!r}", BACKDOORS[name], settings)
    return BACKDOORS[name](**checked)


def build(component: Component) -> Backdoor:
    """The backdoor that a component describes."""
    return get(component.name, **dict(component.settings))


def names() -> list[str]:
    """All backdoors."""
    return BACKDOORS.names()


__all__ = ["BACKDOORS", "Backdoor", "Poisoned", "build", "get", "names"]
