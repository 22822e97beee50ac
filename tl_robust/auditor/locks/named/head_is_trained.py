"""A last layer that was left as it was drawn makes every answer random."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from scipy.stats import ks_1samp, ks_2samp, norm, uniform
from torch import Tensor, nn

from tl_robust.auditor.locks.base import Answer, lock
from tl_robust.auditor.locks.chance import Chance, finite
from tl_robust.auditor.subject import Subject
from tl_robust.errors import ConfigError
from tl_robust.models.base import classifier_names, fresh

LEVEL = 0.001  # a fresh layer is above chance by luck as often at most
LIKE = 1e-5  # and looks trained as often
SPREADS = (0.01, 0.02)  # standard deviations that torchvision, timm and transformers draw last layers with
REPAIR = "load the file that has its trained last layer"


@lock(10)
def head_is_trained(subject: Subject) -> Answer:
    """Fails where the last layer is distributed as one that was just drawn, and accuracy is not above chance.

    Weights are compared by the test of Kolmogorov and Smirnov with what libraries draw, and with the same network drawn
    anew: uniform up to one over the root of the inputs (torch), uniform or normal of Glorot and of He, and normal of
    standard deviation 0.01 or 0.02. One step of training takes some weights over the bound of a uniform draw, and
    changes a bias of 0, with which all but the first start. A last layer of zeros, which some libraries start with, or
    with values that are not finite fails, too.
    """
    network = subject.model.network
    try:
        state = network.state_dict()
        tensors = {name: state[name].detach().float().cpu() for name in sorted(classifier_names(network))}
    except ConfigError as error:
        return Answer(None, f"Its last layer is not known ({str(error).rstrip('.')}).")
    weights = [tensor for tensor in tensors.values() if tensor.ndim >= 2]
    if not weights:
        return Answer(None, "Its last layer has no matrix of weights, so that it cannot be compared with a random one.")
    count = sum(tensor.numel() for tensor in tensors.values())
    if bad := sum(int((~tensor.isfinite()).sum()) for tensor in tensors.values()):
        return Answer(False, f"{bad} of {count} values of its last layer are not finite: {REPAIR}.")
    weight = weights[-1]
    chance = Chance.of(subject)
    knows = chance.p <= LEVEL and chance.exchanged <= max(LEVEL, chance.luck)
    if knows and finite(subject.logits(subject.model)):
        return Answer(True, f"It {chance.text}: no random last layer does that.")
    if not weight.any():
        return Answer(False, f"All {weight.numel()} weights of its last layer are 0, as before any training: {REPAIR}.")
    biases = [tensor for tensor in tensors.values() if tensor.ndim == 1]
    drawn = next(_drawn(network, weight, biases[-1] if len(biases) == 1 else None), "")
    if not drawn:
        return Answer(True, f"The {weight.numel()} weights of its last layer are distributed as no fresh ones are.")
    found = f"The {weight.numel()} weights of its last layer are distributed as just drawn ({drawn}), and it"
    if chance.least > LEVEL:
        return Answer(
            None, f"{found} is right on {chance.right} of {chance.count} images, too few to tell; give more of them."
        )
    return Answer(False, f"{found} {chance.text}: {REPAIR}.")


def _drawn(network: nn.Module, weight: Tensor, bias: Tensor | None) -> Iterator[str]:
    """The draws that weights ``[O,I,...]`` cannot be told from."""
    values, outputs, inputs = weight.flatten().double().numpy(), weight.shape[0], weight[0].numel()
    zero = bias is None or not bias.any()
    bound = 1 / math.sqrt(inputs)
    if (bias is None or float(bias.abs().max()) <= bound * 1.001) and _is_uniform(values, bound):
        yield f"uniform up to {bound:.4f}"
    if not zero:
        return  # all others start with none
    for other in (math.sqrt(6 / (inputs + outputs)), math.sqrt(6 / inputs), math.sqrt(3 / inputs)):
        if _is_uniform(values, other):
            yield f"uniform up to {other:.4f}"
    for spread in (*SPREADS, math.sqrt(2 / (inputs + outputs)), math.sqrt(2 / inputs), bound):
        if ks_1samp(values, norm(scale=spread).cdf).pvalue > LIKE:
            yield f"normal with standard deviation {spread:.4f}"
    try:
        anew = fresh(network)
    except Exception:  # noqa: BLE001 - a network of others that cannot be made again may raise anything
        return
    state = anew.state_dict()
    again = [state[name] for name in sorted(classifier_names(anew)) if state[name].shape == weight.shape]
    if again and again[-1].any() and ks_2samp(values, again[-1].flatten().double().cpu().numpy()).pvalue > LIKE:
        yield "as its own network draws it"


def _is_uniform(values: np.ndarray, bound: float) -> bool:
    inside = bool(np.abs(values).max() <= bound * 1.001)
    return inside and bool(ks_1samp(values, uniform(-bound, 2 * bound).cdf).pvalue > LIKE)
