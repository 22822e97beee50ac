"""B is trained on changed images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from typing_extensions import override

from tl_robust.defenses.adaptive import Adaptive
from tl_robust.defenses.adversarial import GRADIENT, INHERITED
from tl_robust.defenses.base import DEFENSES, Defense, Task
from tl_robust.defenses.random_changes import mixed, noisy, shifted
from tl_robust.errors import ConfigError
from tl_robust.seeding import derive

USUAL = {"noise": 0.15, "shift": 2.0, "mixup": 1.0, "cutmix": 1.0}
MIXES = ("mixup", "cutmix")


@DEFENSES.register
@dataclass(frozen=True)
class Augment(Defense):
    """Training images are changed at random, anew in each epoch; draws are keyed by the training and the sample.

    ``mixup`` (Zhang, Cisse, Dauphin, Lopez-Paz, ICLR 2018) takes the mean of each image and the next one of its batch
    with a weight from Beta(alpha, alpha), ``cutmix`` (Yun et al., ICCV 2019) pastes a box of the next one with the
    remaining share of the area, cut at the edges; the loss is the mean of both cross entropies with these weights. The
    papers draw one weight a batch, here each image has its own.

    Attributes:
        kind: ``noise``: Gaussian, of spread ``strength``, unclipped. ``shift``: by up to ``strength`` pixels each way,
            with black behind. ``mixup`` and ``cutmix``: ``strength`` is alpha.
        strength: Above 0; 0 stands for the usual one: 0.15, 2 pixels, or alpha 1.
    """

    kind: str = "noise"
    strength: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in USUAL or not 0 <= self.strength <= 100:
            raise ConfigError(f"augment needs kind {', '.join(USUAL)} and strength from 0 to 100, got {self}.")
        if self.kind == "shift" and self.strength != round(self.strength):
            raise ConfigError(f"augment shifts by whole pixels, got {self}.")

    @override
    def loss(self, task: Task, batch: Sequence[Tensor], others: Mapping[str, nn.Module]) -> Tensor:
        images, labels = batch[:2]
        samples = batch[2] if len(batch) > 2 else torch.arange(len(labels), device=labels.device)
        key, size = derive("augment defense", self.kind, task.defense_seed), self.strength or USUAL[self.kind]
        drawn = images, samples, key, task.current_epoch
        if self.kind not in MIXES:
            changed = noisy(*drawn, size) if self.kind == "noise" else shifted(*drawn, int(size))
            return task.objective((changed, *batch[1:]))
        images, share = mixed(*drawn, size, boxes=self.kind == "cutmix")
        logits = task(images)
        own, other = (cross_entropy(logits, each, reduction="none") for each in (labels, labels.roll(1)))
        return (share * own + (1 - share) * other).mean()

    @override
    def adaptive(self) -> tuple[Adaptive, ...]:
        return (
            GRADIENT,
            Adaptive("A margin does not fade where mixing has made all answers flat.", "exact", "white", "margin"),
            Adaptive("Black box: the attacker trains a B of his own on changed images, from A.", view="shadow"),
            INHERITED,
        )
