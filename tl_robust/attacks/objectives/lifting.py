"""Larger activations of an early layer."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from typing_extensions import override

from tl_robust.attacks.objectives.base import OBJECTIVES, Model, Objective
from tl_robust.attacks.objectives.feature import check_block, features


@OBJECTIVES.register
@dataclass(frozen=True)
class Lifting(Objective):
    """Squared norm of the output of a block of A: low-level layer lifting.

    Early layers change least when A is fine-tuned, so B's activations grow with A's. No label is needed. Ban and Dong,
    "Pre-trained adversarial perturbations", NeurIPS 2022, section 3, L4A without the fusion of layers and without the
    Gaussian samples; their code takes the mean of the squares instead of the sum, which differs by a constant.

    Attributes:
        block: Number of the block, from 1.
    """

    INSIDE: ClassVar[bool] = True
    block: int = 1

    def __post_init__(self) -> None:
        check_block(self.block, 1, "lifting")

    def observe(self, model: Model, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and the block's output ``[N,D]``; see :meth:`Objective.observe`."""
        return features(model, images, self.block, "lifting")

    @override
    def loss(self, observed: Tensor, reference: Tensor) -> Tensor:
        return observed.square().sum(1)
