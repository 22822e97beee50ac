"""Adversarial training that weighs accuracy against steadiness."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from typing_extensions import override

from tl_robust.defenses.adaptive import Adaptive
from tl_robust.defenses.adversarial import GRADIENT, INHERITED, Adversarial, Nearby, apart, asked, attacked
from tl_robust.defenses.base import DEFENSES, Task
from tl_robust.errors import ConfigError

BETAS = {"digits": 1.0}  # those of its authors, by space; theirs for MNIST and for CIFAR-10


@DEFENSES.register
@dataclass(frozen=True)
class Trades(Adversarial):
    """Zhang et al., "Theoretically principled trade-off between robustness and accuracy", ICML 2019.

    The loss is the cross entropy at the clean image plus ``beta`` x KL(answer to it, answer to the adversarial one).
    That one maximizes the divergence in eval mode, by 10 steps of eps / 4 from normal noise of deviation 0.001.

    Attributes:
        beta: Weight of the divergence, above 0; 0: 1 in the space of digits and 6 in others, as its authors have it.
    """

    beta: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.beta < math.inf:
            raise ConfigError(f"setting 'beta' of trades must be above 0, or 0 for its authors', got {self.beta:g}.")

    @override
    def suited(self, eps: Sequence[float], space: str) -> Self:
        return replace(super().suited(eps, space), beta=self.beta or BETAS.get(space, 6.0))

    @override
    def loss(self, task: Task, batch: Sequence[Tensor], others: Mapping[str, nn.Module]) -> Tensor:
        changed = attacked(Nearby(), asked(task), batch, self.eps, self.drawn(task))
        said = task(batch[0])
        clean, other = said.log_softmax(1), task(changed).log_softmax(1)
        return cross_entropy(said, batch[1]) + (self.beta or 6.0) * apart(other, clean)

    @override
    def adaptive(self) -> tuple[Adaptive, ...]:
        margin = Adaptive("Answers are flat around images: a margin does not fade.", view="white", objective="margin")
        return GRADIENT, margin, INHERITED
