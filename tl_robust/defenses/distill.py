"""A student learns B's answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from typing_extensions import override

from tl_robust.defenses.adaptive import Adaptive
from tl_robust.defenses.adversarial import GRADIENT, MASKED, Adversarial, Nearby, apart, asked, attacked
from tl_robust.defenses.base import DEFENSES, Lineage, M, Task, Trainings
from tl_robust.defenses.hardened import Hardened
from tl_robust.errors import ConfigError

STARTS = ("fresh", "parent")
USUAL = (4.0, 0.9)  # temperature and weight


@DEFENSES.register
@dataclass(frozen=True)
class Distill(Hardened):
    """Hinton, Vinyals, Dean, "Distilling the knowledge in a neural network", 2015: B teaches the network that is used.

    The loss is ``weight`` x T^2 KL(teacher, student), both at temperature T, plus (1 - ``weight``) x cross entropy.
    Knowledge goes through the answers on clean target images alone; no weight is B's. ``weight=0`` is the same training
    without a teacher.

    With ``robust`` it is RSLAD (Zi, Zhao, Ma, Jiang, "Revisiting adversarial robustness distillation", ICCV 2021): B is
    trained adversarially, and the loss is 5/6 KL(teacher at clean images, student at attacked ones) + 1/6 KL(both at
    clean ones). The attack maximizes the former by 10 steps of eps / 4. A step takes 12 times as long as without.

    Attributes:
        start: ``fresh``: the student starts from random weights. ``parent``: from what B started from.
        temperature: T, above 0; not with ``robust``.
        weight: In [0,1]; not with ``robust``.
        epochs: Epochs of the student; 0: as many as B's.
        robust: RSLAD; ``by``, ``eps`` and ``beta`` are of the teacher's adversarial training, eps of the student's too.
    """

    REPAIRS: ClassVar[bool] = True
    CLEAN: ClassVar[bool] = True

    start: str = "fresh"
    temperature: float = USUAL[0]
    weight: float = USUAL[1]
    epochs: int = 0
    robust: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.start not in STARTS:
            raise ConfigError(f"setting 'start' of distill must be {' or '.join(STARTS)}, got {self.start!r}.")
        if self.temperature <= 0 or not 0 <= self.weight <= 1 or self.epochs < 0:
            raise ConfigError(f"distill needs a temperature above 0, a weight in [0,1] and epochs from 0, got {self}.")
        if self.robust and (self.temperature, self.weight) != USUAL:
            raise ConfigError(f"distill with robust has no temperature and no weight, got {self}: leave them out.")
        if not self.robust and (self.by, self.eps, self.beta) != ("pgd_at", 0, 0):
            raise ConfigError(f"by, eps and beta of distill go with robust=True alone, got {self}.")

    @property
    @override
    def training(self) -> Adversarial | None:
        return super().training if self.robust else None

    @override
    def lineage(self, train: Trainings[M], a: M, b: M) -> Lineage[M]:
        teacher = b.defended(self.training.component) if self.training else b
        return Lineage(a, teacher.taught(self.component, self.epochs, self.start == "fresh"), (teacher,))

    @override
    def loss(self, task: Task, batch: Sequence[Tensor], others: Mapping[str, nn.Module]) -> Tensor:
        images, labels = batch[:2]
        temperature = 1.0 if self.robust else self.temperature
        with torch.no_grad():
            taught = (others["teacher"](images) / temperature).log_softmax(1)
        if self.training:
            changed = attacked(Nearby(answers=taught), asked(task), batch, self.eps, self.training.drawn(task))
            away, near = (apart(task(each).log_softmax(1), taught) for each in (changed, images))
            return (5 * away + near) / 6
        said = task(images)
        soft = temperature**2 * apart((said / temperature).log_softmax(1), taught)
        return self.weight * soft + (1 - self.weight) * cross_entropy(said, labels)

    @override
    def adaptive(self) -> tuple[Adaptive, ...]:
        return (
            GRADIENT,
            Adaptive("A margin does not fade where temperature has made the student sure.", "exact", "white", "margin"),
            *([MASKED] if self.robust else []),
            Adaptive("Black box: the attacker distills a B of his own, made from A.", view="shadow"),
            Adaptive(
                "What is faint and everywhere shows in a teacher's soft answers to clean images.", backdoor="blend"
            ),
        )
