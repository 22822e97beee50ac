"""Adversarial training on PGD images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn
from typing_extensions import override

from tl_robust.defenses.adversarial import Adversarial, asked, attacked, pgd
from tl_robust.defenses.base import DEFENSES, Task


@DEFENSES.register
@dataclass(frozen=True)
class PgdAt(Adversarial):
    """Madry et al., "Towards deep learning models resistant to adversarial attacks", ICLR 2018.

    The loss is the cross entropy at the images of PGD alone. They are made in eval mode by 7 steps of 2.5 eps / 7 from
    a uniform start. A step of training takes about 8 times as long as without.
    """

    @override
    def loss(self, task: Task, batch: Sequence[Tensor], others: Mapping[str, nn.Module]) -> Tensor:
        changed = attacked(pgd(), asked(task), batch, self.eps, self.drawn(task))
        return task.cross_entropy(changed, batch[1])
