"""Activation clustering: the features of a label with poison in it fall into two clusters, one of them small."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from typing_extensions import override

from tl_robust.defenses.adaptive import Adaptive
from tl_robust.defenses.base import DEFENSES
from tl_robust.defenses.sifting import AT_TEST, Filter
from tl_robust.errors import ConfigError
from tl_robust.types import ImageSet


@DEFENSES.register
@dataclass(frozen=True)
class ActivationClusters(Filter):
    """Chen et al., "Detecting Backdoor Attacks on Deep Neural Networks by Activation Clustering", 2018.

    The features of each label are reduced to principal components (the paper takes independent ones) and divided by
    2-means. The smaller cluster is removed where the two are apart and it is small. The score is how much nearer an
    image is to the center of its label's smaller cluster than to the other, in distances of the centers, and 2 less in
    a label where nothing is removed; so what is above 0 is removed.

    Attributes:
        components: Principal components that are left, at least 1.
        silhouette: Nothing is removed from a label whose mean silhouette is not above this, from -1 to 1.
        share: Nor from one whose smaller cluster has not less than this share of its images, from 0 to 0.5.
    """

    components: int = 10
    silhouette: float = 0.15
    share: float = 0.35

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.components < 1 or not -1 <= self.silhouette <= 1 or not 0 <= self.share <= 0.5:
            raise ConfigError(
                "activation_clusters needs components from 1, silhouette from -1 to 1 and share from 0 to 0.5, got "
                f"{self.components}, {self.silhouette} and {self.share}."
            )

    @override
    def scores(self, images: ImageSet, others: Mapping[str, nn.Module]) -> Tensor:
        found, scores = self.features(images, others), torch.zeros(len(images))
        for label in images.labels.unique():
            own = images.labels == label
            scores[own] = self._nearer(found[own])
        return scores

    @override
    def kept(self, images: ImageSet, scores: Tensor) -> Tensor:
        return scores <= 0

    @override
    def adaptive(self) -> tuple[Adaptive, ...]:
        blind = Adaptive(
            "Where ten classes are equally frequent, this rate makes half of label t poisoned, and neither cluster is "
            "small.",
            backdoor="rate=0.1",
        )
        return (AT_TEST, blind)

    def _nearer(self, found: Tensor) -> Tensor:
        """The scores of one label, float32 ``[N]``, from its features."""
        from sklearn.cluster import KMeans
        from sklearn.decomposition import PCA
        from sklearn.metrics import silhouette_score

        if len(found) < 3 or bool((found == found[0]).all()):
            return torch.full((len(found),), -2.0)  # there are no two clusters
        components = min(self.components, *found.shape)
        reduced = PCA(components, svd_solver="full").fit_transform(found.numpy())
        clusters = KMeans(2, n_init=10, random_state=0).fit(reduced)
        in_second = torch.from_numpy(clusters.labels_).double().mean()
        small = int(in_second < 0.5)
        away = torch.from_numpy(clusters.transform(reduced))
        apart = torch.from_numpy(clusters.cluster_centers_).diff(dim=0).norm()
        removes = silhouette_score(reduced, clusters.labels_) > self.silhouette
        removes = removes and min(in_second, 1 - in_second) < self.share
        nearer = (away[:, 1 - small] - away[:, small]) / apart
        return (nearer if removes else nearer - 2).float()
