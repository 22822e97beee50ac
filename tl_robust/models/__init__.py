"""Networks: images in [0,1] in, logits out; normalization is the first layer. ``models.get("dtn", shape, 10)``."""

from torch import nn

from tl_robust.models.base import NETWORKS, Normalize, build, copy_fitting
from tl_robust.registry import Scalar


def get(name: str, image_shape: tuple[int, int, int], classes: int, **settings: Scalar) -> nn.Module:
    """The network of a name with settings, and fresh weights from torch's global generator.

    Args:
        name: Registered name.
        image_shape: ``(C, H, W)``.
        classes: Number of logits.
        settings: Those of the network.

    Raises:
        UnknownNameError: No such network or setting; the message shows the closest.
        ConfigError: A setting of the wrong type or outside its range.
    """
    return build(NETWORKS.component(name, settings), image_shape, classes)


def names() -> list[str]:
    """All networks."""
    return NETWORKS.names()


__all__ = ["NETWORKS", "Normalize", "build", "copy_fitting", "get", "names"]
