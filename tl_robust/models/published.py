"""What is asked of networks that others wrote, whatever they call their parts: last layer, blocks, images they take."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from tl_robust.errors import ConfigError

TEXTS = ("model_args", "pretrained_cfg")  # what of timm's config.json says how a network is built
NORMS = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm)


def library(name: str, extra: str) -> Any:
    """A library that only some networks need, imported now.

    Args:
        name: What is imported.
        extra: The extra of this package that installs it.

    Raises:
        ConfigError: It is not installed, or does not work here.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ConfigError(
            f"network {extra!r} needs {name} ({str(error).splitlines()[0]}): pip install 'tl_robust[{extra}]'."
        ) from error


def last_layer(model: nn.Module) -> nn.Module:
    """The last module that has weights of its own."""
    return [module for module in model.modules() if list(module.parameters(recurse=False))][-1]


def trunk(model: nn.Module, last: nn.Module) -> list[nn.Module]:
    """Blocks of a network for :func:`tl_robust.models.base.blocks`; a normalization belongs to the module before it.

    They are the network's children without those that hold the last layer. While there are fewer than three, the
    largest is replaced with its own children: ``features`` of many networks, the encoder of a ViT and its list of
    layers. Parameters that lie in no child, such as a ViT's embedding of positions, are in no block.

    Args:
        model: The network.
        last: Its last layer.
    """
    body = [child for child in _children(model) if last not in child.modules()]
    while body and sum(not isinstance(module, NORMS) for module in body) < 3:
        largest = max(body, key=_size)
        inside = _children(largest)
        if not inside:
            break
        place = body.index(largest)
        body[place : place + 1] = inside
    blocks: list[nn.Module] = []
    for module in [*body, *_before(model, last)]:
        if isinstance(module, NORMS) and blocks:
            blocks[-1] = nn.Sequential(blocks[-1], module)
        else:
            blocks.append(module)
    return blocks


def check_takes(network: nn.Module, image_shape: Sequence[int], what: str, shown: Sequence[int]) -> None:
    """Pass an image without numbers through a network, which costs no arithmetic and no memory; it trains afterwards.

    Args:
        network: The network, anywhere.
        image_shape: ``(C, H, W)``.
        what: The network, for the message.
        shown: The shape that the message names: what is left of the image after the first layers.

    Raises:
        ConfigError: It cannot take such images.
    """
    state = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    shapes_alone = {name: value.to("meta") for name, value in state.items()}
    network.eval()
    try:
        with torch.device("meta"), torch.no_grad():
            torch.func.functional_call(network, shapes_alone, torch.empty(1, *image_shape))
    except (RuntimeError, ValueError, AssertionError) as error:
        raise ConfigError(
            f"{what} cannot take images of {'x'.join(map(str, shown))}: "
            f"set resize, for example to 224 ({str(error).splitlines()[0]})."
        ) from error
    network.train()


def _children(module: nn.Module) -> list[nn.Module]:
    return [child for child in module.children() if _size(child)]


def _size(module: nn.Module) -> int:
    return sum(value.numel() for value in module.parameters())


def _before(module: nn.Module, last: nn.Module) -> list[nn.Module]:
    """What lies beside the last layer in the children that hold it, such as the hidden layers of VGG's head."""
    head = next((child for child in _children(module) if child is not last and last in child.modules()), None)
    if head is None:
        return []
    return [*(child for child in _children(head) if last not in child.modules()), *_before(head, last)]
