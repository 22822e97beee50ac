"""The epochs of a victim's last training at which it is asked."""

from __future__ import annotations

from collections.abc import Sequence

from tl_robust.defenses import DEFENSES
from tl_robust.nodes.models import Model
from tl_robust.nodes.training import Training


def along(model: Model, epochs: Sequence[int]) -> tuple[int, ...]:
    """The epochs; a repair that is over sooner stays as it is."""
    last = model.trained
    repaired = isinstance(last, Training) and any(DEFENSES[part.name].REPAIRS for part in last.defense)
    return tuple(min(epoch, model.age) for epoch in epochs) if repaired else tuple(epochs)


def doubling(last: int) -> tuple[int, ...]:
    """0, 1, 2, 4 and so on to the last epoch."""
    powers = (2**power for power in range(last.bit_length()))
    return (0, *(epoch for epoch in powers if epoch < last), last)
