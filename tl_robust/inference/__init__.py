"""Membership inferences by name, one file each. ``inference.get("lira", mode="offline")``."""

from typing import Any

from tl_robust.inference.base import INFERENCES, Inference, Seen, ShadowInference, Told
from tl_robust.registry import Component, Scalar, check_settings


def get(name: str, **settings: Scalar) -> Inference:
    """The inference of a name.

    Raises:
        UnknownNameError: No such inference or setting; the message shows the closest.
        ConfigError: A setting of the wrong type or outside its range.
    """
    checked: dict[str, Any] = check_settings(f"inference {name!r}", INFERENCES[name], settings)
    return INFERENCES[name](**checked)


def build(component: Component) -> Inference:
    """The inference that a component describes."""
    return get(component.name, **dict(component.settings))


def names() -> list[str]:
    """All inferences."""
    return INFERENCES.names()


__all__ = ["INFERENCES", "Inference", "Seen", "ShadowInference", "Told", "build", "get", "names"]
