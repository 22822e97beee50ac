"""The victim's loss alone."""

from dataclasses import dataclass

from torch import Tensor
from typing_extensions import override

from tl_robust.inference.base import INFERENCES, Inference, Seen


@INFERENCES.register
@dataclass(frozen=True)
class Loss(Inference):
    """Yeom, Giacomelli, Fredrikson, Jha, "Privacy risk in machine learning", CSF 2018: members have a lower loss."""

    @override
    def score(self, seen: Seen) -> Tensor:
        return -seen.victim.loss
