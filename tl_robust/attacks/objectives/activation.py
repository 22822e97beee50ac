"""One feature up, the others down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from typing_extensions import override

from tl_robust.attacks.objectives.base import OBJECTIVES, Model, Objective
from tl_robust.attacks.objectives.feature import features
from tl_robust.attacks.problem import Problem
from tl_robust.errors import ConfigError


@OBJECTIVES.register
@dataclass(frozen=True)
class Activation(Objective):
    """Features that are ``value`` in one neuron and 0 in all others; the neurons are the inputs of A's last layer.

    Rezaei and Liu, "A target-agnostic attack on deep models: exploiting security vulnerabilities of transfer learning",
    ICLR 2020, minimize |f - K e|^2 with e one neuron and K large (100,000 in their code). Minus that, without its
    constant K^2 and over 2 K, is f_neuron - |f|^2 / (2 K): the same direction, without the loss of digits. They try the
    neurons one after the other; here each sample and each restart draws one, of those that are not 0 on the clean
    image, since a neuron at rest has no gradient.

    Attributes:
        value: K, above 0, in the unit of the features. The smaller, the more the other neurons count.
    """

    INSIDE: ClassVar[bool] = True
    VARIES: ClassVar[bool] = True
    value: float = 100_000.0

    def __post_init__(self) -> None:
        if not 0 < self.value < float("inf"):
            raise ConfigError(f"value of objective 'activation' must be above 0 and finite, got {self.value}.")

    def observe(self, model: Model, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and features ``[N,D]``; see :meth:`Objective.observe`."""
        return features(model, images, 0, "activation")

    def reference(self, problem: Problem) -> Tensor:
        """Number of each sample's neuron, int64 ``[N]``; see :meth:`Objective.reference`."""
        with torch.no_grad():
            clean = self.observe(problem.model, problem.clean)[1]
        return (problem.uniform(clean.shape[1:], "neuron") + (clean != 0)).argmax(1)

    @override
    def loss(self, observed: Tensor, reference: Tensor) -> Tensor:
        return observed.gather(1, reference[:, None]).squeeze(1) - observed.square().sum(1) / (2 * self.value)
