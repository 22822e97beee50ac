"""Cross entropy of the true class."""

from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import cross_entropy
from typing_extensions import override

from tl_robust.attacks.objectives.base import OBJECTIVES, Objective


@OBJECTIVES.register
@dataclass(frozen=True)
class Label(Objective):
    """Cross entropy of the true class, or of A's own prediction where A has other labels."""

    @override
    def loss(self, observed: Tensor, reference: Tensor) -> Tensor:
        return cross_entropy(observed, reference, reduction="none")
