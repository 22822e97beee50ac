"""How far features are from those of every class.

Axes: N images, F features, K classes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tl_robust.seeding import generator

FOLDS = 10


def fitted(found: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Means of the classes that there are ``[K,F]``, and a matrix ``[F,F]`` that whitens what is left without them.

    The covariance is one for all classes, shrunk after Ledoit and Wolf, 2004.

    Args:
        found: Features ``[N,F]``, float64.
        labels: int64 ``[N]``.
    """
    from sklearn.covariance import ledoit_wolf

    present, place = labels.unique(return_inverse=True)
    means = torch.stack([found[place == number].mean(0) for number in range(len(present))])
    covariance, _ = ledoit_wolf((found - means[place]).cpu().numpy(), assume_centered=True)
    shrunk = torch.from_numpy(covariance) + 1e-9 * torch.eye(found.shape[1], dtype=torch.float64)
    return means, torch.linalg.cholesky(torch.linalg.inv(shrunk)).to(found.device)


def distance(found: Tensor, means: Tensor, whitening: Tensor) -> Tensor:
    """Squared Mahalanobis distance of features ``[N,F]`` to the nearest mean, over F: ``[N]``."""
    apart = (found @ whitening)[:, None] - (means @ whitening)[None]
    return apart.square().mean(2).amin(1)


def to_other_folds(found: Tensor, labels: Tensor, seed: int) -> Tensor:
    """The distance of each row to the means of the other folds, in the order of the folds, ``[N]``.

    Args:
        found: Features ``[N,F]``, float64.
        labels: int64 ``[N]``.
        seed: Says which rows are in a fold.
    """
    distances = []
    for fold in torch.randperm(len(found), generator=generator("folds", seed)).to(found.device).chunk(FOLDS):
        rest = torch.ones(len(found), dtype=torch.bool, device=found.device).index_fill_(0, fold, False)
        distances.append(distance(found[fold], *fitted(found[rest], labels[rest])))
    return torch.cat(distances)
