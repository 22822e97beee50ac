"""The difference of logits ratio."""

from dataclasses import dataclass

from torch import Tensor
from typing_extensions import override

from tl_robust.attacks.logits import margin
from tl_robust.attacks.objectives.base import OBJECTIVES, Objective


@OBJECTIVES.register
@dataclass(frozen=True)
class DLR(Objective):
    """The margin over the distance between the first and the third logit: free of the scale and shift of logits.

    With two classes there is no third, the ratio of the two logits would be 1 or -1 everywhere, and it is the margin
    alone.

    Croce and Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free attacks",
    ICML 2020, equation 6.
    """

    @override
    def loss(self, observed: Tensor, reference: Tensor) -> Tensor:
        lead = margin(observed, reference)
        if observed.shape[1] < 3:
            return lead
        top = observed.topk(3, dim=1).values
        return lead / (top[:, 0] - top[:, 2] + 1e-12)
