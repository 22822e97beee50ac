"""What a network makes of images: its logits, and what its last layer is given.

Axes: N images, C channels, H height, W width, F features, K classes.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from tl_robust.errors import ConfigError
from tl_robust.models.base import classifier_names, network_name

BATCH = 500  # images that a network is asked about at a time


def penultimate(network: nn.Module, images: Tensor) -> Tensor:
    """What the attribute ``classifier`` of a network is given, for one batch; gradients flow, and modes stay.

    Args:
        network: A network in any mode.
        images: ``[N,C,H,W]`` in [0,1], on the network's device.

    Returns:
        ``[N,F]``.

    Raises:
        ConfigError: The network does not say what its last layer is, or does not call it.
    """
    classifier_names(network)  # checks that there is one
    given: list[Tensor] = []
    last = network.get_submodule("classifier")
    hook = last.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    try:
        network(images)
    finally:
        hook.remove()
    if not given:
        raise ConfigError(
            f"network {network_name(network)!r} does not call its attribute 'classifier', so its features before the "
            "last layer are not known: call it in forward, or choose another network."
        )
    return given[-1].flatten(1)


def features(network: nn.Module, images: Tensor) -> Tensor:
    """The features of every image before the last layer, as the network has them when it is used.

    Args:
        network: Asked in eval mode; afterwards every module is in the mode it was in.
        images: uint8 ``[N,C,H,W]``, on any device.

    Returns:
        float32 ``[N,F]`` on the device of the images.

    Raises:
        ConfigError: The network does not say what its last layer is, or does not call it.
    """
    return _asked(network, images, penultimate)


def logits(network: nn.Module, images: Tensor) -> Tensor:
    """The logits of every image, float32 ``[N,K]``; see :func:`features`."""
    return _asked(network, images, lambda network, batch: network(batch))


@torch.no_grad()
def _asked(network: nn.Module, images: Tensor, ask: Callable[[nn.Module, Tensor], Tensor]) -> Tensor:
    device = next((tensor.device for tensor in network.parameters()), images.device)
    training = {module: module.training for module in network.modules()}
    network.eval()
    try:
        batches = [
            ask(network, batch.to(device).to(torch.float32).div_(255)).to(images.device, torch.float32)
            for batch in images.split(BATCH)
        ]
    finally:
        for module, mode in training.items():
            module.training = mode
    return torch.cat(batches)
