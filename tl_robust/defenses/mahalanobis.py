"""An image whose features are far from those of every class is refused.

Axes: N images, C channels, H height, W width, F features, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from typing_extensions import override

from tl_robust.defenses.adaptive import Adaptive
from tl_robust.defenses.base import DEFENSES, Defense
from tl_robust.errors import ConfigError
from tl_robust.models.features import features, with_features
from tl_robust.models.guard import Ask, Guard, refusing
from tl_robust.seeding import generator
from tl_robust.types import ImageSet

FOLDS = 10  # the distance of an image, which the threshold is made of, is by means and covariance of the other folds


@DEFENSES.register
@dataclass(frozen=True)
class Mahalanobis(Defense):
    """Lee, Lee, Lee, Shin, "A simple unified framework for detecting out-of-distribution samples", NeurIPS 2018.

    The squared Mahalanobis distance of the features before the last layer to the nearest class mean, with one
    covariance for all classes, divided by their number. Of the paper only this: no other layer, no noise, no detector
    trained on attacked images. Means, covariance (shrunk after Ledoit and Wolf, 2004) and threshold are of clean
    held-out images alone; the threshold is of distances to the means of other folds.

    Attributes:
        false_alarms: Share of the held-out images beyond the threshold, rounded down to whole images; 0 refuses none.
    """

    FEATURES: ClassVar[bool] = True
    NEUTRAL = {"false_alarms": 0.0}

    false_alarms: float = 0.05

    def __post_init__(self) -> None:
        if not 0 <= self.false_alarms < 1:
            raise ConfigError(f"mahalanobis needs false_alarms of at least 0 and below 1, got {self.false_alarms}.")

    @override
    def fit(self, network: nn.Module, validation: ImageSet, seed: int) -> dict[str, Tensor]:
        if not self.false_alarms:
            return {}
        refused = int(self.false_alarms * len(validation))
        if not refused or len(validation) < 3:
            raise ConfigError(
                f"mahalanobis needs {max(3, round(1 / self.false_alarms))} held-out images for false_alarms="
                f"{self.false_alarms:g}, got {len(validation)}: raise recipe.val_share, or false_alarms."
            )
        found, labels = features(network, validation.images).double(), validation.labels.to(validation.images.device)
        order = torch.randperm(len(found), generator=generator("folds", seed)).to(found.device)
        distances = []
        for fold in order.chunk(FOLDS):
            rest = torch.ones(len(found), dtype=torch.bool, device=found.device).index_fill_(0, fold, False)
            distances.append(distance(found[fold], *_fitted(found[rest], labels[rest])))
        ranked = torch.cat(distances).sort().values
        means, whitening = _fitted(found, labels)
        threshold = (ranked[-refused - 1] + ranked[-refused]) / 2
        return {"means": means.float(), "whitening": whitening.float(), "threshold": threshold.float()}

    @override
    def wrap(self, network: nn.Module, fitted: Mapping[str, Tensor]) -> nn.Module:
        return Distant(network, **fitted) if self.false_alarms else Guard(network)

    @override
    def adaptive(self) -> tuple[Adaptive, ...]:
        return (
            Adaptive("The distance is smooth, so that the guard's own gradient is right."),
            Adaptive("Another class must exceed label and refusal, both.", "exact", objective="evade"),
            Adaptive("The trigger has the features of class t, which lie near its mean.", backdoor="latent"),
        )


class Distant(Guard):
    """Refuses where features are far from all class means.

    Args:
        network: What is defended.
        means: ``[K,F]``.
        whitening: ``[F,F]``; differences of features times it have the identity as covariance.
        threshold: ``[]``, the largest distance that is answered.
    """

    means: Tensor
    whitening: Tensor
    threshold: Tensor

    def __init__(self, network: nn.Module, means: Tensor, whitening: Tensor, threshold: Tensor) -> None:
        super().__init__(network)
        device = next((weight.device for weight in network.parameters()), torch.device("cpu"))
        for name, tensor in (("means", means), ("whitening", whitening), ("threshold", threshold)):
            self.register_buffer(name, tensor.to(device))
        self.inner_rejects, self.rejects = self.rejects, True

    @override
    def chain(self, images: Tensor, ask: Ask) -> Tensor:
        logits, away = self._asked(images, ask)
        return refusing(logits, away - self.threshold, self.inner_rejects)

    @torch.no_grad()
    def suspicion(self, images: Tensor) -> Tensor:
        """How suspicious each image is, ``[N]``: its distance, of images ``[N,C,H,W]`` in [0,1]."""
        return self._asked(images, lambda link, inputs: link(inputs))[1]

    def _asked(self, images: Tensor, ask: Ask) -> tuple[Tensor, Tensor]:
        logits, found = with_features(self.network, lambda: super(Distant, self).chain(images, ask))
        return logits, distance(found, self.means.to(found), self.whitening.to(found))


def distance(found: Tensor, means: Tensor, whitening: Tensor) -> Tensor:
    """Squared Mahalanobis distance of features ``[N,F]`` to the nearest mean, over F: ``[N]``."""
    apart = (found @ whitening)[:, None] - (means @ whitening)[None]
    return apart.square().mean(2).amin(1)


def _fitted(found: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Means of the classes that there are ``[K,F]``, and a whitening matrix ``[F,F]``."""
    from sklearn.covariance import ledoit_wolf

    present, place = labels.unique(return_inverse=True)
    means = torch.stack([found[place == number].mean(0) for number in range(len(present))])
    covariance, _ = ledoit_wolf((found - means[place]).cpu().numpy(), assume_centered=True)
    shrunk = torch.from_numpy(covariance) + 1e-9 * torch.eye(found.shape[1], dtype=torch.float64)
    return means, torch.linalg.cholesky(torch.linalg.inv(shrunk)).to(found.device)
