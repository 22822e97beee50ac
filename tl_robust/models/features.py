"""What a network makes of images: its logits, and what its last layer is given.

Axes: N images, C channels, H height, W width, F features, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from tl_robust.errors import ConfigError
from tl_robust.models.base import blocks, classifier_names, network_name

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


def with_blocks(network: nn.Module, ask: Callable[[], Tensor]) -> tuple[Tensor, list[Tensor]]:
    """What ``ask`` gets from a network, and what each of its blocks gave on the way, ``[N, ...]``.

    A block may be a mere list of the network's modules, which the network never calls: then its output is that of the
    module in it which ran last.

    Raises:
        ConfigError: The network does not say what its blocks are, or runs nothing of one of them.
    """
    seen: list[dict[bool, Tensor]] = []  # True: what the block itself gave, False: a module inside it
    with ExitStack() as stack:
        for block in blocks(network):
            gave: dict[bool, Tensor] = {}
            seen.append(gave)
            for module in block.modules():
                hook = partial(_keep, gave, module is block)
                stack.callback(module.register_forward_hook(hook).remove)
        answer = ask()
    if not all(seen):
        raise ConfigError(f"network {network_name(network)!r} has a block of which it runs nothing: choose another.")
    return answer, [gave.get(True, gave.get(False)) for gave in seen]  # type: ignore[misc]


def _keep(gave: dict[bool, Tensor], whole: bool, module: nn.Module, inputs: object, output: object) -> None:
    if isinstance(output, Tensor):
        gave[whole] = output


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
