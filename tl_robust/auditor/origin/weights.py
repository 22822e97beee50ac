"""How surely the weights of two networks have a common start, with a null distribution in closed form.

The hidden units of a network have no order: where training starts from draws that are alike for all units, every order
of the units is as likely as any other (Hecht-Nielsen, "On the algebraic structure of feedforward network weight
spaces", 1990). So of two networks that were trained apart, whatever their data, the filters of one stand in random order
beside those of the other, and what they have in common by the data alone is the same in every order. Of the filters'
similarities ``M [O,O]``, with rows and columns of mean 0, the trace over all orders has mean 0 and variance
``sum(M^2) / (O - 1)`` and is nearly normal (Hoeffding, "A combinatorial central limit theorem", 1951).

Fine-tuning, pruning, noise and changes of low rank leave the order of the units as it is.

Axes: O filters (outputs of a layer), I their inputs, flat.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tl_robust.errors import ConfigError
from tl_robust.models.base import classifier_names

FEWEST = 8  # filters, and inputs, of a tensor that is compared: of fewer the trace is not normal
SHARE = 0.5  # of the entries of such tensors of the model that a candidate must have, too

Pair = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Weights:
    """What two networks' weights have in common.

    Attributes:
        cosine: Mean over tensors of the mean cosine of filters, less what they share in every order; 1 where all are
            the same.
        z: Standard normal where the networks were trained apart from random weights.
        tensors: How many were compared.
        alike: Cosine of each filter, ``[F]`` over all tensors.
    """

    cosine: float
    z: float
    tensors: int
    alike: Tensor


def compared(model: nn.Module, candidate: nn.Module) -> list[Pair]:
    """The large tensors of both, without the last layer; none where they do not fit.

    They are matched by name and shape; where names differ, by order, if then all shapes are the same. Vectors, such as
    biases and statistics of normalization, are left out: they are alike in all networks.
    """
    own, other = _large(model), _large(candidate)
    names = [name for name, value in own.items() if name in other and other[name].shape == value.shape]
    pairs = [(own[name], other[name]) for name in names]
    if not names and [value.shape for value in own.values()] == [value.shape for value in other.values()]:
        pairs = list(zip(own.values(), other.values(), strict=True))
    size = sum(value.numel() for value in own.values())
    return pairs if sum(one.numel() for one, _ in pairs) >= SHARE * size else []


def _large(network: nn.Module) -> Mapping[str, Tensor]:
    try:
        last = classifier_names(network)
    except ConfigError:  # it does not say what its last layer is; that is a small part of it
        last = set()
    return {
        name: value
        for name, value in network.state_dict().items()
        if name not in last
        and value.is_floating_point()
        and value.ndim >= 2
        and len(value) >= FEWEST
        and value[0].numel() >= FEWEST
    }


def common(pairs: Sequence[Pair]) -> Weights:
    """What the tensors of two networks have in common; see the module.

    Args:
        pairs: At least one, ``[O, ...]`` each; none is changed.
    """
    alikes, traces = [], []
    for one, other in pairs:
        similar_OO = unit(one) @ unit(other).T
        similar_OO = similar_OO - similar_OO.mean(0) - similar_OO.mean(1, keepdim=True) + similar_OO.mean()
        alikes.append(similar_OO.diagonal())
        traces.append(trace_z(similar_OO))
    cosines = [float(alike.mean()) for alike in alikes]
    z = sum(traces) / math.sqrt(len(traces))
    return Weights(sum(cosines) / len(cosines), z, len(pairs), torch.cat(alikes))


def unit(tensor: Tensor) -> Tensor:
    """Filters ``[O,I]`` of length 1, less their mean, in float64 on the CPU; zeros where there is nothing else."""
    flat_OI = tensor.detach().flatten(1).to("cpu", torch.float64)
    flat_OI = torch.nn.functional.normalize(flat_OI - flat_OI.mean(0), dim=1)
    return flat_OI.nan_to_num(0.0, 0.0, 0.0)


def trace_z(similar_OO: Tensor) -> float:
    """The trace of a matrix whose rows and columns have mean 0, in standard deviations over all orders of its rows."""
    spread = float(similar_OO.square().sum()) / (len(similar_OO) - 1)
    return float(similar_OO.trace()) / math.sqrt(spread) if spread > 1e-24 else 0.0
