"""What the features of two networks say of the same images, beyond the labels.

Features have no order that data could give, as the filters of :mod:`tl_robust.auditor.origin.weights` have none: those
of two networks that were trained apart stand beside each other in random order. The similarity is the correlation over
images, within each class, so that what the labels explain is no evidence.

Axes: N images, C channels, P positions, U units.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tl_robust.auditor.origin.chance import centered, trace_z
from tl_robust.auditor.origin.relation import Relation
from tl_robust.errors import ConfigError
from tl_robust.models.base import classifier_names
from tl_robust.models.features import features
from tl_robust.types import ImageSet

FEWEST = 8  # units, and images beyond the classes


def units(network: nn.Module, images: ImageSet) -> Tensor | None:
    """The features of images within their classes, float64 ``[N*P,U]``; None where the network does not give any.

    A unit is an output of the last layer with weights before the classifier. Where each has several values, at the
    positions of a picture, these count as further images, since positions do have an order.
    """
    try:
        last = classifier_names(network)
        found_NF = features(network, images.images).double().cpu()
    except ConfigError:
        return None
    before = [value for name, value in network.state_dict().items() if name not in last and value.ndim]
    count = len(before[-1]) if before else 0
    if count < FEWEST or found_NF.shape[1] % count or not bool(found_NF.isfinite().all()):
        return None
    found_NF = within_classes(found_NF, images.labels)
    if len(images) - len(images.labels.unique()) < FEWEST:
        return None
    return found_NF.unflatten(1, (count, -1)).transpose(1, 2).flatten(0, 1)


def relation(model_MU: Tensor, candidate_MU: Tensor) -> Relation:
    """How the features of two networks of equally many units lie beside each other.

    Args:
        model_MU: As :func:`units` gives them.
        candidate_MU: The same of the candidate.
    """
    one_MU, other_MU = (torch.nn.functional.normalize(found, dim=0) for found in (model_MU, candidate_MU))
    similar_UU = centered(one_MU.T @ other_MU)
    return Relation(float(similar_UU.diagonal().mean()), trace_z(similar_UU), similar_UU.diagonal())


def within_classes(values_NF: Tensor, labels: Tensor) -> Tensor:
    """Values less the mean of their class."""
    place = labels.unique(return_inverse=True)[1]
    one_hot_NL = torch.nn.functional.one_hot(place).to(values_NF)
    means_LF = one_hot_NL.T @ values_NF / one_hot_NL.sum(0)[:, None]
    return values_NF - means_LF[place]
