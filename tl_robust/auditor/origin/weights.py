"""What the weights of two networks have in common, beside a null distribution in closed form.

The hidden units of a network have no order: where training starts from draws that are alike for all units, every order
of the units is as likely as any other (Hecht-Nielsen, "On the algebraic structure of feedforward network weight
spaces", 1990). So of two networks that were trained apart, whatever their data, the filters of one stand in random
order beside those of the other, and what both have because of their data they have in every order: see
:func:`tl_robust.auditor.origin.chance.trace_z`.

Fine-tuning, pruning, noise and changes of low rank leave the order of the units as it is. A network of the same initial
weights has it, too; :func:`kept` tells whether what a candidate has learned is in the model.

Axes: O filters (outputs of a layer), I their inputs, flat.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from tl_robust.auditor.origin.chance import centered, trace_z
from tl_robust.auditor.origin.relation import Relation
from tl_robust.errors import ConfigError
from tl_robust.models.base import classifier_names

FEWEST = 8  # filters, and inputs, of a tensor that is compared: of fewer the trace is not normal
SHARE = 0.5  # of the entries of such tensors of the model that a candidate must have, too
LEADING = 8  # the first singular directions, one of so many, hold most of what a network has learned

Pair = tuple[Tensor, Tensor]


def compared(model: nn.Module, candidate: nn.Module) -> list[Pair]:
    """The large tensors of both, without the last layer; none where they do not fit.

    They are matched by name and shape; where no name is the same, by order, if then all shapes are. Vectors, such as
    biases and statistics of normalization, are left out, since they are alike in all networks, and so are tables with a
    row for each position or word, since these have an order.
    """
    own, other = _large(model), _large(candidate)
    names = [name for name, value in own.items() if name in other and other[name].shape == value.shape]
    pairs = [(own[name], other[name]) for name in names]
    if not own.keys() & other.keys() and [len(value) for value in own.values()]:
        by_order = list(zip(own.values(), other.values(), strict=False))
        fits = len(own) == len(other) and all(one.shape == two.shape for one, two in by_order)
        pairs = by_order if fits else []
    size = sum(value.numel() for value in own.values())
    return pairs if sum(one.numel() for one, _ in pairs) >= SHARE * max(size, 1) else []


def _large(network: nn.Module) -> Mapping[str, Tensor]:
    try:
        last = classifier_names(network)
    except ConfigError:  # it does not say what its last layer is, which is a small part of it
        last = set()
    placed = {name for name, module in network.named_modules() if isinstance(module, nn.Embedding)}
    return {
        name: value
        for name, value in network.state_dict().items()
        if name.endswith("weight")
        and name not in last
        and name.rpartition(".")[0] not in placed
        and value.is_floating_point()
        and value.ndim >= 2
        and len(value) >= FEWEST
        and value[0].numel() >= FEWEST
    }


def relation(pairs: Sequence[Pair]) -> Relation:
    """How the filters of two networks lie beside each other.

    Args:
        pairs: At least one, ``[O, ...]`` each.

    Returns:
        ``score`` is the mean over tensors of the mean cosine of filters, less what they have in every order.
    """
    alikes, traces = [], []
    for one, other in pairs:
        similar_OO = centered(unit(one) @ unit(other).T)
        alikes.append(similar_OO.diagonal())
        traces.append(trace_z(similar_OO))
    score = sum(float(alike.mean()) for alike in alikes) / len(alikes)
    return Relation(score, sum(traces) / math.sqrt(len(traces)), torch.cat(alikes))


def kept(pairs: Sequence[Pair]) -> float:
    """How much of what a candidate has learned is in the model, as a part of how much of the rest of it is.

    Of each tensor A of the candidate, less the filters' mean, the leading singular directions hold most of what was
    learned and the others most of the random start. In each part the model's tensor B is regressed on A: a descendant
    has both, whatever it learned, pruned or noisy, a network of the same initial weights the second alone.

    Args:
        pairs: Of the model and the candidate.

    Returns:
        About 1 of a descendant, less of a network that shares its start; 0 where the rest has nothing in common.
    """
    found = torch.zeros(2, dtype=torch.float64)
    for model, candidate in pairs:
        b_OI, a_OI = (_flat(tensor) for tensor in (model, candidate))
        if len(a_OI) > a_OI.shape[1]:
            b_OI, a_OI = b_OI.T, a_OI.T
        squares, turn = torch.linalg.eigh(a_OI @ a_OI.T)
        shared = ((turn.T @ (b_OI @ a_OI.T)) * turn.T).sum(1)
        leading = max(1, len(squares) // LEADING)
        for part, place in enumerate((slice(-leading, None), slice(None, -leading))):
            found[part] += shared[place].sum() / squares[place].sum().clamp(min=1e-12)
    return float(found[0] / found[1]) if found[1] > 1e-6 * len(pairs) else 0.0


def _flat(tensor: Tensor) -> Tensor:
    flat_OI = tensor.detach().flatten(1).to("cpu", torch.float64).nan_to_num(0.0, 0.0, 0.0)
    return flat_OI - flat_OI.mean(0)


def unit(tensor: Tensor) -> Tensor:
    """Filters ``[O,I]`` less their mean, of length 1 in float64 on the CPU; zeros where nothing is left.

    They have length 1 before, too, so that no single filter makes the mean, which would tell the others by it.
    """
    return torch.nn.functional.normalize(_flat(torch.nn.functional.normalize(tensor.double().flatten(1), dim=1)), dim=1)
