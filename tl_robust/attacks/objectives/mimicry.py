"""Towards the features of another image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from typing_extensions import override

from tl_robust.attacks.logits import predicted
from tl_robust.attacks.objectives.base import OBJECTIVES, Model, Objective
from tl_robust.attacks.objectives.feature import check_block, features
from tl_robust.attacks.problem import Problem
from tl_robust.errors import ConfigError

DRAWS = 20


@OBJECTIVES.register
@dataclass(frozen=True)
class Mimicry(Objective):
    """Minus the squared distance of A's features from those of a target image out of the pool.

    Wang, Yao, Viswanath, Zheng, Zhao, "With great training comes great vulnerability", USENIX Security 2018, the
    optimization problem of their attack. They bound the perceptual distance DSSIM by a penalty; here eps bounds the
    norm. Each sample and each restart draws a target that A takes for another class than the clean image; after 20
    draws in vain the last one stays.

    Attributes:
        block: 0 for the input of A's last layer, where all layers but the last are A's; from 1 on the output of that
            block.
    """

    INSIDE: ClassVar[bool] = True
    POOL: ClassVar[bool] = True
    VARIES: ClassVar[bool] = True
    block: int = 0

    def __post_init__(self) -> None:
        check_block(self.block, 0, "mimicry")

    def observe(self, model: Model, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and features ``[N,D]``; see :meth:`Objective.observe`."""
        return features(model, images, self.block, "mimicry")

    def reference(self, problem: Problem) -> Tensor:
        """Features of each sample's target ``[N,D]``; see :meth:`Objective.reference`.

        Raises:
            ConfigError: There is no pool, or its images are of another shape.
        """
        pool = problem.fitted
        if not isinstance(pool, Tensor) or len(pool) == 0 or pool.shape[1:] != problem.clean.shape[1:]:
            got = f"{list(pool.shape)}" if isinstance(pool, Tensor) else "none"
            raise ConfigError(
                f"objective 'mimicry' needs a pool of images of shape {list(problem.clean.shape[1:])} for its "
                f"targets, got {got}: use attack 'mimicry', or give the images as fitted."
            )
        with torch.no_grad():
            own = predicted(problem.model(problem.clean), problem.model.rejects)
            targets: Tensor | None = None
            missing = torch.arange(len(own), device=own.device)
            for draw in range(DRAWS):
                chosen = (problem.take(missing).uniform((), "target", draw) * len(pool)).long()
                logits, seen = self.observe(problem.model, pool[chosen.clamp(max=len(pool) - 1)])
                if targets is None:
                    targets = seen.clone()
                targets[missing] = seen
                classes = predicted(logits, problem.model.rejects)
                missing = missing[(classes == own[missing]) | (classes < 0)]
                if len(missing) == 0:
                    break
        assert targets is not None
        return targets

    @override
    def loss(self, observed: Tensor, reference: Tensor) -> Tensor:
        return -(observed - reference).square().sum(1)
