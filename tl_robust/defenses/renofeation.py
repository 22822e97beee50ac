"""B learns A's features from random weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss
from typing_extensions import override

from tl_robust.defenses.adaptive import Adaptive
from tl_robust.defenses.adversarial import GRADIENT
from tl_robust.defenses.base import DEFENSES, Defense, Lineage, M, Task, Trainings
from tl_robust.defenses.lineage import check_trained
from tl_robust.errors import ConfigError
from tl_robust.models.base import blocks, fresh
from tl_robust.models.features import with_blocks
from tl_robust.registry import Scalar
from tl_robust.types import ImageSet


@DEFENSES.register
@dataclass(frozen=True)
class Renofeation(Defense):
    """Chin, Zhang, Marculescu, "Renofeation: a simple transfer learning method for improved robustness", CVPRW 2021.

    B starts from random weights, whatever the strategy copied. To the strategy's loss is added ``weight`` times the sum
    over blocks of the mean squared difference between B's and A's outputs on the same images. B is the mean of its
    weights after each epoch of the second half, with BatchNorm statistics anew (stochastic weight averaging, Izmailov
    et al., UAI 2018). The authors average every 500 of 30,000 steps and drop whole channels of the features, too.

    Attributes:
        weight: From 0.
        average: Whether weights are averaged; if not, the epoch is chosen as ever.
    """

    ASKS: ClassVar[tuple[str, ...]] = ("start",)
    INHERITS: ClassVar[bool] = True

    weight: float = 5.0
    average: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.weight < float("inf"):
            raise ConfigError(f"renofeation needs a weight from 0, got {self.weight}.")

    @override
    def lineage(self, train: Trainings[M], a: M, b: M) -> Lineage[M]:
        epochs = [b.at(epoch) for epoch in range(b.age // 2 + 1, b.age + 1)]
        return Lineage(a, train.soup(epochs) if self.average and len(epochs) > 1 else b)

    @override
    def check(self, task: Task, samples: int, options: Mapping[str, Scalar]) -> None:
        inside = {module for block in blocks(task.network) for module in block.modules()}
        check_trained(self, task, inside & set(task.network.modules()))

    @override
    def initialize(self, task: Task, parent: Mapping[str, Tensor] | None, validation: ImageSet | None) -> None:
        self.check(task, 0, {})
        task.network.load_state_dict(fresh(task.network).state_dict())

    @override
    def loss(self, task: Task, batch: Sequence[Tensor], others: Mapping[str, nn.Module]) -> Tensor:
        start = others["start"]
        with torch.no_grad():
            _, wanted = with_blocks(start, lambda: start(batch[0]))
        loss, own = with_blocks(task.network, lambda: task.objective(batch))
        return loss + self.weight * torch.stack(list(map(mse_loss, own, wanted))).sum()

    @override
    def adaptive(self) -> tuple[Adaptive, ...]:
        return (
            GRADIENT,
            Adaptive("A margin does not fade where training has made the network sure.", "exact", "white", "margin"),
            Adaptive("Black box: the attacker teaches A's features to a B of his own.", view="shadow"),
            Adaptive("A trigger with the features of class t is learned with A's features.", backdoor="latent"),
        )
