"""Adversarial training on images that were made on the public A."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn
from typing_extensions import override

from tl_robust import attacks
from tl_robust.defenses.adaptive import Adaptive
from tl_robust.defenses.adversarial import GRADIENT, INHERITED, Adversarial, attacked, sample_ids
from tl_robust.defenses.base import DEFENSES, Lineage, M, Task, Trainings
from tl_robust.errors import ConfigError
from tl_robust.seeding import derive, uniform


@DEFENSES.register
@dataclass(frozen=True)
class OriginAt(Adversarial):
    """Tramer et al., "Ensemble adversarial training", ICLR 2018, with the public A as the static source.

    The loss is half the cross entropy at clean images and half that at FGSM images of A, in two passes, since
    statistics of BatchNorm would mix them in one. Each image has an eps of its own, uniform up to ``eps``. The epoch
    is chosen by clean accuracy: robustness of its own is not what is trained.

    Attributes:
        eps: The largest size in [0,1] pixel units; 0: the largest of the bench.
    """

    @override
    def taken(self, eps: Sequence[float]) -> float:
        return eps[-1]

    @override
    def lineage(self, train: Trainings[M], a: M, b: M) -> Lineage[M]:
        return Lineage(a, b.asking("origin", a))

    @override
    def loss(self, task: Task, batch: Sequence[Tensor], others: Mapping[str, nn.Module]) -> Tensor:
        if "origin" not in others:
            raise ConfigError("origin_at needs A: task.defend(defense, {'origin': network}).")
        images, labels = batch[:2]
        furthest = attacked(attacks.get("fgsm"), others["origin"], batch, self.eps, 0)
        draw = uniform(derive("eps", self.drawn(task)), sample_ids(batch), (1, 1, 1))
        size = (self.eps * draw).to(images)
        nearer = images + (furthest - images).clamp(-size, size)  # FGSM at that size: each pixel goes straight
        return (task.cross_entropy(images, labels) + task.cross_entropy(nearer, labels)) / 2

    @override
    def score(self, task: Task, batch: Sequence[Tensor]) -> None:
        return None

    @override
    def adaptive(self) -> tuple[Adaptive, ...]:
        shadow = Adaptive("Only A is known to the defense: the attacker trains a B of his own, from A.", view="shadow")
        return GRADIENT, shadow, INHERITED
