"""Prune what clean images do not need, then fine-tune."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from typing_extensions import override

from tl_robust.defenses.adaptive import Adaptive
from tl_robust.defenses.base import DEFENSES, Defense, Lineage, M, Task, Trainings
from tl_robust.errors import ConfigError
from tl_robust.models.channels import Channels
from tl_robust.models.features import logits
from tl_robust.types import ImageSet
from tl_robust.types.terms import ATLAS, NIST, Terms

STEPS = 64  # the channels of a wide layer are tried in so many steps


@DEFENSES.register
@dataclass(frozen=True)
class FinePruning(Defense):
    """Liu, Dolan-Gavitt, Garg, "Fine-Pruning", RAID 2018: less of the last convolution, then clean training.

    The channels that held-out clean images activate least are set to 0, and all the rest is fine-tuned by the target's
    recipe. ``epochs=0`` prunes alone, ``prune=False`` fine-tunes alone: without these two arms nobody knows what helps.

    Attributes:
        drop: Channels are pruned until accuracy on these images would fall by more than that, a share.
        share: Share of the channels that are pruned whatever becomes of accuracy; 0: as many as ``drop`` allows.
        epochs: Epochs of fine-tuning; 0: none.
        prune: Whether channels are pruned.
    """

    TERMS: ClassVar[Terms] = {NIST: "mitigation, model inspection and sanitization", ATLAS: "AML.M0003"}
    REPAIRS: ClassVar[bool] = True
    CLEAN: ClassVar[bool] = True

    drop: float = 0.04
    share: float = 0.0
    epochs: int = 4
    prune: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.drop < 1 or not 0 <= self.share < 1:
            raise ConfigError(f"fine_pruning needs drop and share of at least 0 and below 1, got {self}.")
        if self.epochs < 0 or not (self.epochs or self.prune):
            raise ConfigError(f"fine_pruning needs epochs from 0, and from 1 with prune=False, got {self}.")

    @override
    def lineage(self, train: Trainings[M], a: M, b: M) -> Lineage[M]:
        repaired = b.further(self.epochs or 1, self.component)
        return Lineage(a, repaired if self.epochs else repaired.at(0), (b,))

    @override
    def initialize(self, task: Task, parent: Mapping[str, Tensor] | None, validation: ImageSet | None) -> None:
        if not self.prune:
            return
        if validation is None:
            raise ConfigError("fine_pruning needs clean images: task.start_from(parent, validation=ImageSet(...)).")
        channels = Channels.last(task.network, validation.images)
        channels.prune(self.dead(channels, validation))

    def dead(self, channels: Channels, validation: ImageSet) -> Tensor:
        """Bool ``[C]``, the channels that are pruned; at least one stays."""
        order = channels.activations(validation.images).argsort(stable=True)
        dead = torch.zeros(len(order), dtype=torch.bool)
        if self.share:
            dead[order[: min(int(self.share * len(order)), len(order) - 1)]] = True
            return dead
        least = _accuracy(channels, dead, validation) - self.drop
        step = -(-len(order) // STEPS)
        for count in range(step, len(order), step):
            more = torch.zeros_like(dead)
            more[order[:count]] = True
            if _accuracy(channels, more, validation) < least:
                break
            dead = more
        return dead

    @override
    def adaptive(self) -> tuple[Adaptive, ...]:
        return (
            Adaptive("Nothing stands around the network, so that its own gradient is right."),
            Adaptive("A margin does not fade where training has made the network sure.", "exact", "white", "margin"),
            Adaptive("Black box: the attacker trains and prunes a B of his own, from A.", view="shadow"),
            Adaptive("The trigger has the features of class t, which clean images need, too.", backdoor="latent"),
        )


def _accuracy(channels: Channels, dead: Tensor, images: ImageSet) -> float:
    with channels.silenced(dead):
        said = logits(channels.network, images.images).argmax(1).cpu()
    return float((said == images.labels).double().mean())
