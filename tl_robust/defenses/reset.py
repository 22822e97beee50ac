"""B forgets a part of what it starts from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from typing_extensions import override

from tl_robust.defenses.adaptive import Adaptive
from tl_robust.defenses.adversarial import GRADIENT
from tl_robust.defenses.base import DEFENSES, Defense, Task
from tl_robust.defenses.forgetting import forget_irrelevant, forget_modules
from tl_robust.defenses.lineage import check_trained
from tl_robust.errors import ConfigError
from tl_robust.models.base import blocks
from tl_robust.registry import Scalar
from tl_robust.types import ImageSet


@DEFENSES.register
@dataclass(frozen=True)
class Reset(Defense):
    """Model isolation: before B is trained, a part of the weights that it has from its parent becomes random.

    One of three ways: fresh weights for the last blocks, noise on all weights, or fresh weights where held-out images
    need those of the parent least (ReMoS, Zhang et al., ICSE 2022; see :mod:`forgetting`).

    Attributes:
        blocks: So many of the last blocks, and the last layer, get fresh weights, BatchNorm statistics included.
        noise: Gaussian noise of this many standard deviations of each weight tensor is added to it; 0: none.
        relevance: Share of the weights of each convolution and linear layer that gets fresh ones; 0: none.
    """

    INHERITS: ClassVar[bool] = True

    blocks: int = 1
    noise: float = 0.0
    relevance: float = 0.0

    def __post_init__(self) -> None:
        if self.blocks < 1 or not 0 <= self.noise <= 100 or not 0 <= self.relevance <= 1:
            raise ConfigError(f"reset needs blocks from 1, noise from 0 to 100 and relevance from 0 to 1, got {self}.")
        if (self.blocks != 1) + (self.noise > 0) + (self.relevance > 0) > 1:
            raise ConfigError(f"reset needs one of blocks, noise and relevance, got {self}: leave the others out.")

    @override
    @torch.no_grad()
    def initialize(self, task: Task, parent: Mapping[str, Tensor] | None, validation: ImageSet | None) -> None:
        if self.noise:
            for weight in task.network.parameters():
                weight.add_(torch.randn_like(weight), alpha=self.noise * float(weight.std(correction=0)))
        elif self.relevance:
            if validation is None:
                raise ConfigError("reset by relevance needs images: task.start_from(parent, validation=ImageSet(...)).")
            forget_irrelevant(task.network, validation.images, self.relevance)
        else:
            forget_modules(task.network, self._last(task))

    @override
    def check(self, task: Task, samples: int, options: Mapping[str, Scalar]) -> None:
        if not self.noise and not self.relevance:
            self._last(task)

    def _last(self, task: Task) -> set[nn.Module]:
        """The modules of the last blocks, which must be trained."""
        known = blocks(task.network)
        if self.blocks > len(known):
            raise ConfigError(f"reset has blocks={self.blocks}, and this network has {len(known)}: choose fewer.")
        last = {module for block in known[-self.blocks :] for module in block.modules()}
        check_trained(self, task, last & set(task.network.modules()))
        return last

    @override
    def adaptive(self) -> tuple[Adaptive, ...]:
        return (
            GRADIENT,
            Adaptive("Black box: the attacker resets and trains a B of his own, from A.", view="shadow"),
            Adaptive("What is poisoned more is learned in more layers, and some are not reset.", backdoor="rate=0.2"),
        )
