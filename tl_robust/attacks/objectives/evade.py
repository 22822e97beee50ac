"""A wrong class that is not refused."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from typing_extensions import override

from tl_robust.attacks.logits import margin
from tl_robust.attacks.objectives.base import OBJECTIVES, Model, Objective
from tl_robust.attacks.oracle import Oracle


@OBJECTIVES.register
@dataclass(frozen=True)
class Evade(Objective):
    """Largest logit of another class minus the larger of the label's and the refusal's, where a model refuses images.

    It is above 0 only where the attack has won against classifier and detector at once: Carlini and Wagner,
    "Adversarial examples are not easily detected: bypassing ten detection methods", AISec 2017. Every other objective
    takes the refusal for a class, and is drawn to it. Where a model refuses nothing it is the margin.
    """

    @override
    def observe(self, model: Model, images: Tensor) -> tuple[Tensor, Tensor]:
        logits = model(images)
        if Oracle.of(model).rejects:
            return logits, logits
        return logits, torch.cat([logits, logits.new_full((len(logits), 1), -torch.inf)], 1)

    @override
    def loss(self, observed: Tensor, reference: Tensor) -> Tensor:
        return margin(observed, reference, rejects=True)
