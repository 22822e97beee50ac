"""What networks share: building by name, normalization, copying weights, blocks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
    """How :func:`build` made a network, in plain values; None if something else made it."""
    return getattr(network, "_built", None)


def rebuilt(description: Mapping[str, Any]) -> nn.Module:
    """The network of a description, with fresh weights; torch's global generator is left as it was.

    Args:
        description: What :func:`described` gave.

    Raises:
        UnknownNameError: No such network or setting; a plugin's must be loaded first.
        ConfigError: Not a description, or the network has another version now.
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


class Normalize(nn.Module):
    """Maps [0,1] images to zero mean and unit spread, so that eps means the same for every network.

    Args:
        mean: One value a channel.
        std: One value a channel.
    """

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

    They are for freezing: their parameters are disjoint and, with the classifier's, all or nearly all. Parts without
    parameters may be left out, so a block is not for a forward pass. A block may be a new container of the network's
    own modules; the network is not changed.

    Args:
        network: Has an attribute or property ``blocks``.

    Raises:
        ConfigError: The network does not say what its blocks are.
    """
    found = getattr(network, "blocks", None)
    if found is None:
        raise ConfigError(
            f"network {_name(network)!r} does not say what its blocks are: give its class a property 'blocks', a list "
            "of modules in forward order without the classifier, or choose another network."
        )
    return list(found)


def classifier_names(network: nn.Module) -> set[str]:
    """Names in the network's state dict that belong to its last layer.

    Args:
        network: Has an attribute or property ``classifier``, one of its modules.

    Raises:
        ConfigError: It has none.
    """
    last = getattr(network, "classifier", None)
    inside = {name for name, part in network.named_modules(remove_duplicate=False) if part is last}
    if not isinstance(last, nn.Module) or not inside:
        raise ConfigError(
            f"network {_name(network)!r} does not say what its last layer is: give its class an attribute "
            "'classifier', one of its modules."
        )
    return {f"{name}.{key}".lstrip(".") for name in inside for key in last.state_dict()}


def _name(network: nn.Module) -> str:
    """The registered name, which is the module's."""
    return type(network).__module__.rpartition(".")[2]
