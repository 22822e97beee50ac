"""Draws of a training that no attacker has, and what he has in their place."""

from __future__ import annotations

from dataclasses import replace

from tl_robust.nodes.models import Model
from tl_robust.nodes.training import Training

PRIVATE = "private"  # the salt of such a draw


def isolated(model: Model) -> Model:
    """The model where each training under it on other data than its last one is a draw that no attacker has.

    A model that others trained stays as it is, since it cannot be drawn again.
    """
    last = model.trained

    def change(training: Training, _: str) -> Training:
        own = isinstance(last, Training) and training.data == last.data
        return training if own else training.again(PRIVATE)

    return model.mapped(change)


def public(model: Model) -> Model:
    """The model that an attacker makes in the same way from what he has: the first draws of what is private."""

    def change(training: Training, _: str) -> Training:
        return replace(training, salt=" ".join(word for word in training.salt.split() if word != PRIVATE))

    return model.mapped(change)
