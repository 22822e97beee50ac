"""Spectral signatures: poisoned images of a label stand apart along one axis of the features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from typing_extensions import override

from tl_robust.defenses.adaptive import Adaptive
from tl_robust.defenses.base import DEFENSES
from tl_robust.defenses.sifting import AT_TEST, Budgeted, highest
from tl_robust.types import ImageSet


@DEFENSES.register
@dataclass(frozen=True)
class Spectral(Budgeted):
    """Tran, Li, Madry, "Spectral Signatures in Backdoor Attacks", NeurIPS 2018, Algorithm 1.

    The score is the squared projection of an image's features, less their mean over its label, on the top right
    singular vector of that label's features. Of every label the images with the highest scores are removed, as many as
    the budget has for all labels together, since t is not known; but at most half of a label.
    """

    @override
    def scores(self, images: ImageSet, others: Mapping[str, nn.Module]) -> Tensor:
        found, scores = self.features(images, others), torch.zeros(len(images))
        for label in images.labels.unique():
            own = images.labels == label
            centered = found[own] - found[own].mean(0)
            axis = torch.linalg.svd(centered, full_matrices=False).Vh[0]
            scores[own] = (centered @ axis).square().float()
        return scores

    @override
    def kept(self, images: ImageSet, scores: Tensor) -> Tensor:
        kept = torch.ones(len(scores), dtype=torch.bool)
        for label in images.labels.unique():
            places = (images.labels == label).nonzero()[:, 0]
            kept[places[highest(scores[places], min(self.count(images), len(places) // 2))]] = False
        return kept

    @override
    def adaptive(self) -> tuple[Adaptive, ...]:
        blind = Adaptive(
            "Where ten classes are equally frequent, this rate makes half of label t poisoned, and both halves are "
            "equally far from their mean.",
            backdoor="rate=0.1",
        )
        return (AT_TEST, blind)
