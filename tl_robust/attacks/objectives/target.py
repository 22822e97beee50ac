"""Towards one other class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from typing_extensions import override

from tl_robust.attacks.objectives.base import OBJECTIVES, Objective, ranked_classes
from tl_robust.attacks.problem import Problem
from tl_robust.errors import ConfigError


@OBJECTIVES.register
@dataclass(frozen=True)
class Target(Objective):
    """Towards the class that is ``rank``-th most probable on the clean image, the label aside; each restart the next.

    Attributes:
        form: ``ce``, minus the cross entropy of the target; ``dlr``, the targeted difference of logits ratio (Croce and
            Hein, ICML 2020, equation 7). With fewer than four classes there is no fourth logit to divide by, and it is
            the difference of the logits alone.
        rank: From 1 on; beyond the last class it begins anew.
    """

    VARIES: ClassVar[bool] = True
    form: str = "ce"
    rank: int = 1

    def __post_init__(self) -> None:
        if self.form not in ("ce", "dlr") or self.rank < 1:
            raise ConfigError(
                f"objective 'target' needs form ce or dlr and rank of at least 1, got {self.form!r} and {self.rank}."
            )

    def reference(self, problem: Problem) -> Tensor:
        """Label and target, ``[N,2]``; see :meth:`Objective.reference`."""
        ranked = ranked_classes(problem.model, problem.clean, problem.label)
        target = ranked[:, (self.rank - 1 + problem.restart) % ranked.shape[1]]
        return torch.stack([problem.label, target], dim=1)

    @override
    def loss(self, observed: Tensor, reference: Tensor) -> Tensor:
        if self.form == "ce":
            return -cross_entropy(observed, reference[:, 1], reduction="none")
        of_label, of_target = observed.gather(1, reference).unbind(1)
        if observed.shape[1] < 4:
            return of_target - of_label
        top = observed.topk(4, dim=1).values
        middle = (top[:, 2] + top[:, 3]) / 2
        return (of_target - of_label) / (top[:, 0] - middle + 1e-12)
