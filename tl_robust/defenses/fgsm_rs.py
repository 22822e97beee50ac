"""Adversarial training in one step from a random start."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor, nn
from typing_extensions import override

from tl_robust.defenses.adversarial import Adversarial, asked, attacked, pgd, robust_accuracies
from tl_robust.defenses.base import DEFENSES, Task
from tl_robust.errors import ConfigError

FALL = 0.2  # of robust accuracy from one epoch to the next


@DEFENSES.register
@dataclass(frozen=True)
class FgsmRs(Adversarial):
    """Wong, Rice, Kolter, "Fast is better than free", ICLR 2020: a uniform start, one step of ``step`` x eps, clip.

    Such training may learn to answer one step alone. Where accuracy under PGD on held-out training images falls by more
    than 20 points from one epoch to the next, the step is halved from there on, and the training says so. What has
    collapsed stays so, for all we saw: an epoch before it is kept, but with ``select: last`` not.

    Attributes:
        step: Size of the step as a share of eps, above 0.
    """

    step: float = 1.25

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.step < math.inf:
            raise ConfigError(f"setting 'step' of fgsm_rs must be above 0 (a share of eps), got {self.step:g}.")

    @override
    def loss(self, task: Task, batch: Sequence[Tensor], others: Mapping[str, nn.Module]) -> Tensor:
        step = pgd(steps=1, step_size=self.step / 2 ** len(_falls(task)))
        changed = attacked(step, asked(task), batch, self.eps, self.drawn(task))
        return task.cross_entropy(changed, batch[1])

    @override
    def score(self, task: Task, batch: Sequence[Tensor]) -> Tensor:
        return self.withstood(task, batch)  # a fall must be seen even where the last epoch is kept

    @override
    def remark(self, task: Task) -> str:
        said, falls = super().remark(task), _falls(task)
        where, step = ", ".join(map(str, falls)), self.step / 2 ** len(falls)
        return f"{said}, which fell in epoch {where}: step halved to {step:g} eps" if falls else said


def _falls(task: Task) -> list[int]:
    """The epochs, from 1, in which robust accuracy fell; of them alone, so that a fit that goes on knows them."""
    scores = robust_accuracies(task)
    return [place for place, (before, after) in enumerate(pairwise(scores), 2) if before - after > FALL]
