"""A student learns B's answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, kl_div
from typing_extensions import override

from tl_robust.defenses.adaptive import Adaptive
from tl_robust.defenses.base import DEFENSES, Defense, Lineage, M, Task, Trainings
from tl_robust.errors import ConfigError

STARTS = ("fresh", "parent")


@DEFENSES.register
@dataclass(frozen=True)
class Distill(Defense):
    """Hinton, Vinyals, Dean, "Distilling the knowledge in a neural network", 2015: B teaches the network that is used.

    The loss is ``weight`` x T^2 KL(teacher, student), both at temperature T, plus (1 - ``weight``) x cross entropy.
    Knowledge goes through the answers on clean target images alone; no weight is B's. ``weight=0`` is the same training
    without a teacher.

    Attributes:
        start: ``fresh``: the student starts from random weights. ``parent``: from what B started from.
        temperature: T, above 0.
        weight: In [0,1].
        epochs: Epochs of the student; 0: as many as B's.
    """

    REPAIRS: ClassVar[bool] = True
    CLEAN: ClassVar[bool] = True

    start: str = "fresh"
    temperature: float = 4.0
    weight: float = 0.9
    epochs: int = 0

    def __post_init__(self) -> None:
        if self.start not in STARTS:
            raise ConfigError(f"setting 'start' of distill must be {' or '.join(STARTS)}, got {self.start!r}.")
        if self.temperature <= 0 or not 0 <= self.weight <= 1 or self.epochs < 0:
            raise ConfigError(f"distill needs a temperature above 0, a weight in [0,1] and epochs from 0, got {self}.")

    @override
    def lineage(self, train: Trainings[M], a: M, b: M) -> Lineage[M]:
        return Lineage(a, b.taught(self.component, self.epochs, self.start == "fresh"), (b,))

    @override
    def loss(self, task: Task, batch: Sequence[Tensor], others: Mapping[str, nn.Module]) -> Tensor:
        images, labels = batch[:2]
        said = task(images)
        with torch.no_grad():
            taught = (others["teacher"](images) / self.temperature).log_softmax(1)
        own = (said / self.temperature).log_softmax(1)
        apart = kl_div(own, taught, reduction="batchmean", log_target=True)
        return self.weight * self.temperature**2 * apart + (1 - self.weight) * cross_entropy(said, labels)

    @override
    def adaptive(self) -> tuple[Adaptive, ...]:
        return (
            Adaptive("Nothing stands around the network, so that its own gradient is right."),
            Adaptive("A margin does not fade where temperature has made the student sure.", "exact", "white", "margin"),
            Adaptive("Black box: the attacker distills a B of his own, made from A.", view="shadow"),
            Adaptive(
                "What is faint and everywhere shows in a teacher's soft answers to clean images.", backdoor="blend"
            ),
        )
