"""An image whose features are far from those of every class is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn
from typing_extensions import override

from tl_robust.defenses.base import DEFENSES
from tl_robust.defenses.class_distance import distance, fitted, to_other_folds
from tl_robust.defenses.detector import Detector, Suspecting
from tl_robust.models.features import features, with_features
from tl_robust.models.guard import Ask
from tl_robust.types import ImageSet


@DEFENSES.register
@dataclass(frozen=True)
class Mahalanobis(Detector):
    """Lee, Lee, Lee, Shin, "A simple unified framework for detecting out-of-distribution samples", NeurIPS 2018.

    The squared Mahalanobis distance of the features before the last layer to the nearest class mean, with one
    covariance for all classes, divided by their number. Of the paper only this: no other layer, no noise, no detector
    trained on attacked images. Means and covariance are of clean held-out images alone, and so is the threshold, of
    distances to the means of other folds.
    """

    FEATURES: ClassVar[bool] = True
    POISON: ClassVar = ("blend", "A faint trigger all over the image moves the features little (Chen et al., 2017).")

    @override
    def learned(self, network: nn.Module, validation: ImageSet, seed: int) -> tuple[dict[str, Tensor], Tensor]:
        found, labels = features(network, validation.images).double(), validation.labels.to(validation.images.device)
        means, whitening = fitted(found, labels)
        away = to_other_folds(found, labels, seed)  # to its own means, each of which it has moved, an image is nearer
        return {"means": means.float(), "whitening": whitening.float()}, away

    @override
    def around(self, network: nn.Module, threshold: Tensor, learned: Mapping[str, Tensor]) -> Suspecting:
        return Distant(network, threshold, **learned)


class Distant(Suspecting):
    """Refuses where features are far from all class means."""

    means: Tensor
    whitening: Tensor

    @override
    def judged(self, images: Tensor, ask: Ask) -> tuple[Tensor, Tensor]:
        logits, found = with_features(self.network, lambda: self.inside(images, ask))
        return logits, distance(found, self.means.to(found), self.whitening.to(found))
