"""The margin of the logits."""

from dataclasses import dataclass

from torch import Tensor
from typing_extensions import override

from tl_robust.attacks.logits import margin
from tl_robust.attacks.objectives.base import OBJECTIVES, Objective


@OBJECTIVES.register
@dataclass(frozen=True)
class Margin(Objective):
    """Largest logit of another class minus that of the label; its gradient does not fade where the model is sure.

    Carlini and Wagner, "Towards evaluating the robustness of neural networks", S&P 2017, their f6.
    """

    @override
    def loss(self, observed: Tensor, reference: Tensor) -> Tensor:
        return margin(observed, reference)
