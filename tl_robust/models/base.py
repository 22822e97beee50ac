"""What all networks share: they are built by name, normalize images first, and tell their blocks and last layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from tl_robust.errors import ConfigError
from tl_robust.registry import Component, Registry

NETWORKS: Registry[Callable[..., nn.Module]] = Registry("network", "tl_robust.models.networks")


def build(network: Component, image_shape: tuple[int, int, int], classes: int) -> nn.Module:
    """A network with fresh weights from torch's global generator.

    Args:
        network: Registered name and settings.
        image_shape: ``(C, H, W)``.
        classes: Number of logits.
    """
    module = NETWORKS[network.name](image_shape, classes, **dict(network.settings))
    vars(module)["_built"] = {
        "name": network.name,
        "version": network.version,
        "settings": dict(network.settings),
        "image_shape": list(image_shape),
        "classes": classes,
    }
    return module


def described(network: nn.Module) -> dict[str, Any] | None:
    """How :func:`build` made this network, in plain values; None if something else made it."""
    return getattr(network, "_built", None)


def rebuilt(description: Mapping[str, Any]) -> nn.Module:
    """The network that :func:`described` describes, with fresh weights; torch's global generator is left as it was.

    Raises:
        UnknownNameError: No such network or setting; a plugin that brings the network must be loaded first.
        ConfigError: An entry of the description is missing, or the network has another version now.
    """
    lacking = [name for name in ("name", "version", "settings", "image_shape", "classes") if name not in description]
    if lacking:
        raise ConfigError(f"a description of a network needs {', '.join(lacking)}: make it by tl_robust.models.get.")
    network = NETWORKS.component(description["name"], description["settings"])
    if network.version != description["version"]:
        raise ConfigError(
            f"network {network.name!r} has version {network.version}, this checkpoint's has {description['version']}: "
            "give the network, or train again."
        )
    channels, height, width = description["image_shape"]
    with torch.random.fork_rng(devices=[]):
        return build(network, (channels, height, width), description["classes"])


def fresh(network: nn.Module) -> nn.Module:
    """The same network with random weights; torch's global generator is left as it was.

    One that :func:`build` did not make is copied, and each of its layers that can draws its weights anew.
    """
    description = described(network)
    if description is not None:
        return rebuilt(description)
    copy = deepcopy(network)
    with torch.random.fork_rng(devices=[]):
        for module in copy.modules():
            if callable(reset := getattr(module, "reset_parameters", None)):
                reset()
    return copy


class Normalize(nn.Module):
    """Maps [0,1] images ``[N,C,H,W]`` to zero mean and unit spread of each channel, so that eps is the same for all."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Normalize ``[N,C,H,W]``."""
        return (images - self.mean) / self.std


def copy_fitting(parent: Mapping[str, Tensor], network: nn.Module) -> list[str]:
    """Copy every tensor of ``parent`` whose name and shape fit, buffers included.

    Args:
        parent: A state dict.
        network: Changed in place.

    Returns:
        Names in ``network`` that nothing was copied to.
    """
    own = network.state_dict()
    fitting = {name: value for name, value in parent.items() if name in own and value.shape == own[name].shape}
    network.load_state_dict(fitting, strict=False)
    return sorted(own.keys() - fitting.keys())


def blocks(network: nn.Module) -> list[nn.Module]:
    """The network's blocks in forward order, without the classifier.

    They are for freezing: no parameter is in two of them, and together with the classifier they hold all or nearly all.
    Modules without parameters may be left out, so a block cannot be used for a forward pass. A block may be a new
    container of the network's own modules; the network is not changed.

    Raises:
        ConfigError: The network does not say what its blocks are.
    """
    own_blocks = getattr(network, "blocks", None)
    if own_blocks is None:
        raise ConfigError(
            f"network {network_name(network)!r} does not say what its blocks are: give its class a property 'blocks', "
            "a list of modules in forward order without the classifier, or choose another network."
        )
    return list(own_blocks)


def classifier_names(network: nn.Module) -> set[str]:
    """Names in the network's state dict that belong to its last layer, which is its attribute ``classifier``.

    Raises:
        ConfigError: The network does not say what its last layer is.
    """
    last = getattr(network, "classifier", None)
    inside = {name for name, module in network.named_modules(remove_duplicate=False) if module is last}
    if not isinstance(last, nn.Module) or not inside:
        raise ConfigError(
            f"network {network_name(network)!r} does not say what its last layer is: give its class an attribute "
            "'classifier', one of its modules."
        )
    return {f"{name}.{key}".lstrip(".") for name in inside for key in last.state_dict()}


def check_color(name: str, channels: int) -> None:
    """Check that images have three channels, for a network that can take no others.

    Raises:
        ConfigError: They have another number of channels.
    """
    if channels != 3:
        raise ConfigError(
            f"network {name!r} takes images of 3 channels, got {channels}: "
            "choose a space of colored images, or another network."
        )


def network_name(network: nn.Module) -> str:
    """The registered name of a network, which is the name of the Python module that defines its class."""
    return type(network).__module__.rpartition(".")[2]
