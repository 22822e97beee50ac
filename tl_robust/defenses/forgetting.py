"""What of a parent's weights becomes random: those of some modules, or those that the target needs least.

Axes: N images, O channels or features that a layer gives, I that it is given.
"""

from __future__ import annotations

from collections.abc import Set
from contextlib import ExitStack
from functools import partial

import torch
from torch import Tensor, nn

from tl_robust.models.base import classifier_names, fresh
from tl_robust.models.features import logits


def forget_modules(network: nn.Module, modules: Set[nn.Module]) -> None:
    """Give fresh weights to modules of a network and to its last layer, BatchNorm statistics included."""
    names = classifier_names(network)
    for name, module in network.named_modules():
        if module in modules:
            names |= {f"{name}.{key}" for key in module.state_dict()}
    state = fresh(network).state_dict()
    network.load_state_dict({name: state[name] for name in names}, strict=False)


def forget_irrelevant(network: nn.Module, images: Tensor, share: float) -> None:
    """Make random, of each convolution and linear layer, the weights that are large and covered little.

    After Zhang et al., "ReMoS: Reducing Defect Inheritance in Transfer Learning via Relevant Model Slicing", ICSE 2022,
    by the difference of both ranks. Here a weight's coverage is the mean over images of the product of the mean
    absolute activations at its two ends; the paper counts the images that activate both.

    Args:
        network: What is changed.
        images: uint8 ``[N,C,H,W]``.
        share: Of the weights of each layer, from 0 to 1.
    """
    coverage, state = covered(network, images), fresh(network).state_dict()
    for name, cover in coverage.items():
        weight = network.get_parameter(f"{name}.weight")
        by_cover = cover.view(*cover.shape, *[1] * (weight.ndim - 2)).expand_as(weight)
        needless = _ranks(weight.abs()) - _ranks(by_cover)
        chosen = needless.argsort(descending=True, stable=True)[: round(share * weight.numel())]
        weight.view(-1)[chosen] = state[f"{name}.weight"].to(weight).view(-1)[chosen]


def covered(network: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """How much both ends of each weight are active on images, by the name of its layer.

    Args:
        network: Its convolutions and linear layers are asked, in eval mode.
        images: uint8 ``[N,C,H,W]``.

    Returns:
        ``[O,I]``: means over images of the product of mean absolute activations; a grouped layer has the I of a group.
    """
    sums: dict[str, Tensor] = {}

    def count(name: str, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        before, after = (_activity(tensor) for tensor in (inputs[0], output))
        groups = getattr(layer, "groups", 1)
        pairs = zip(after.chunk(groups, 1), before.chunk(groups, 1), strict=True)
        both = torch.cat([one.T @ other for one, other in pairs]) / len(images)
        sums[name] = sums.get(name, torch.zeros_like(both)) + both

    with ExitStack() as stack:
        for name, layer in network.named_modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                stack.callback(layer.register_forward_hook(partial(count, name)).remove)
        logits(network, images)
    return sums


def _activity(tensor: Tensor) -> Tensor:
    """Mean absolute activation of each channel ``[N,C,H,W]`` or feature ``[N,F]``."""
    return tensor.abs().flatten(2).mean(2) if tensor.ndim > 2 else tensor.abs()


def _ranks(values: Tensor) -> Tensor:
    """The rank of each value from 0, flat; of equal ones the first comes first."""
    order = values.flatten().argsort(stable=True)
    return torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=order.device))
