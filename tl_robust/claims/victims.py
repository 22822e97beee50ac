"""Which victims a bench has: those that were fine-tuned, and what tells them apart."""

from __future__ import annotations

from tl_robust.claims.comparisons import UNDEFENDED, Comparisons, Place
from tl_robust.description import Scalar, described
from tl_robust.errors import ConfigError
from tl_robust.types import View

FULL = "finetune"  # everything is trained, at the learning rate of the recipe, as tables name it


def settings_of(text: str, name: str) -> dict[str, Scalar] | None:
    """Settings of a component that tables name so, those at their defaults left out; None where it is another one."""
    try:
        found, settings = described(name, text)
    except ConfigError:  # several behind each other, or a stranger's text
        return None
    return settings if found == name else None


def fine_tuned(comparisons: Comparisons, place: Place, view: View) -> dict[str, dict[str, Scalar]]:
    """Undefended victims that were fine-tuned, as tables name them, with their settings."""
    sides = [side.strategy for side in comparisons.sides(place, view) if side.defense == UNDEFENDED]
    return {text: settings for text in sides if (settings := settings_of(text, FULL)) is not None}
