"""Draws of a training that no attacker has, and what he has in their place."""

from __future__ import annotations

from dataclasses import replace

from tl_robust.nodes.models import Model
from tl_robust.nodes.training import Training

PRIVATE = "private"  # the salt of such a draw
PUBLIC = "origin"  # what a defense asks by this name is what the attacker has, whatever B starts from


def isolated(model: Model) -> Model:
    """The model where each training under it on other data than its last one is a draw that no attacker has.

    A model that others trained stays as it is, since it cannot be drawn again, and so does a public one that a defense
    asks in its loss.
    """
    last = model.trained
    before = {node.key: node for node in model.nodes if isinstance(node, Training)}

    def change(training: Training, key: str) -> Training:
        if not isinstance(last, Training) or training.data != last.data:
            return training.again(PRIVATE)
        asked = dict(training.others) | {name: other for name, other in before[key].others if name == PUBLIC}
        return replace(training, others=tuple(asked.items()))

    return model.mapped(change)


def private(model: Model) -> bool:
    """Whether it is a draw that no attacker has."""
    return isinstance(model, Training) and PRIVATE in model.salt.split()


def public(model: Model) -> Model:
    """The model that an attacker makes in the same way from what he has: the first draws of what is private."""

    def change(training: Training, _: str) -> Training:
        return replace(training, salt=" ".join(word for word in training.salt.split() if word != PRIVATE))

    return model.mapped(change)
