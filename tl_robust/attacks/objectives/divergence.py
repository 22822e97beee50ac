"""Away from all that the model says of the clean image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import kl_div
from typing_extensions import override

from tl_robust.attacks.objectives.base import OBJECTIVES, Objective
from tl_robust.attacks.problem import Problem


@OBJECTIVES.register
@dataclass(frozen=True)
class Divergence(Objective):
    """KL divergence of the answer from that to the clean image, as in TRADES (Zhang et al., ICML 2019)."""

    FLAT: ClassVar[bool] = True

    def reference(self, problem: Problem) -> Tensor:
        """Log probabilities on the clean image, ``[N,L]``; see :meth:`Objective.reference`."""
        with torch.no_grad():
            return self.observe(problem.model, problem.clean)[1].log_softmax(1)

    @override
    def loss(self, observed: Tensor, reference: Tensor) -> Tensor:
        return kl_div(observed.log_softmax(1), reference, reduction="none", log_target=True).sum(1)
