"""What a network makes of images: its logits, and what its last layer is given.

Axes: N images, C channels, H height, W width, F features, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

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
    return with_features(network, lambda: network(images))[1]


def with_features(network: nn.Module, ask: Callable[[], Tensor]) -> tuple[Tensor, Tensor]:
    """Logits ``[N,K]`` that ``ask`` gets from a network, and the features ``[N,F]`` behind them.

    Where the network is asked several times, as under noises or overlays, the features are those of the first.

    Raises:
        ConfigError: As :func:`penultimate`.
    """
    classifier_names(network)  # checks that there is one
    given: list[Tensor] = []
    last = network.get_submodule("classifier")
    hook = last.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    try:
        logits = ask()
    finally:
        hook.remove()
    if not given:
        raise ConfigError(
            f"network {network_name(network)!r} does not call its attribute 'classifier', so its features before the "
            "last layer are not known: call it in forward, or choose another network."
        )
    return logits, given[0].flatten(1)


def features(network: nn.Module, images: Tensor) -> Tensor:
    """The features of every image before the last layer, as the network has them when it is used.

    Args:
        network: It may be on any device and of any precision; asked in eval mode and left as it was.
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
    with in_eval_mode(network):
        answers = [ask(network, pixels(network, batch)) for batch in images.split(BATCH)]
    return torch.cat([answer.to(images.device, torch.float32) for answer in answers])


def pixels(network: nn.Module, images: Tensor) -> Tensor:
    """Images, uint8 ``[N,C,H,W]``, in [0,1], where a network is and in its precision."""
    weight = next((weight for weight in network.parameters() if weight.is_floating_point()), torch.zeros(()))
    return images.to(weight.device).to(weight.dtype).div_(255)


@contextmanager
def in_eval_mode(network: nn.Module) -> Iterator[None]:
    """The network in eval mode; afterwards every module is in the mode that it was in."""
    before = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in before:
            module.training = training
