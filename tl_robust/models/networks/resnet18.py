"""ResNet-18 for small images."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor, nn

from tl_robust.models.base import NETWORKS, Normalize


@NETWORKS.register
class ResNet18(nn.Module):
    """ResNet-18 with a CIFAR stem; 11,173,962 parameters for ten classes. The KDD 2020 paper has no such network.

    He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, as torchvision builds it, with a 3x3
    convolution of stride 1 in place of the 7x7 of stride 2, and without the max pool. Inputs are scaled to [-1, 1] by
    the first layer, as in DTN. Weights have torchvision's names after ``features.``; its ``fc`` is ``classifier``.

    Args:
        image_shape: ``(C, H, W)``; H and W are halved three times.
        classes: Number of logits.
    """

    VERSION = 1
    ALIASES: ClassVar[Mapping[str, str]] = {"": "features", "fc": "classifier"}  # torchvision's names to ours

    def __init__(self, image_shape: tuple[int, int, int], classes: int) -> None:
        from torchvision.models import resnet18  # slow to import

        super().__init__()
        channels = image_shape[0]
        stem = nn.Conv2d(channels, 64, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(stem.weight, mode="fan_out", nonlinearity="relu")
        layers = OrderedDict(resnet18(weights=None, num_classes=classes).named_children()) | {"conv1": stem}
        del layers["maxpool"]
        self.normalize = Normalize((0.5,) * channels, (0.5,) * channels)
        self.classifier: nn.Linear = layers.pop("fc")
        self.features = nn.Sequential(layers | {"flatten": nn.Flatten()})

    @property
    def blocks(self) -> list[nn.Module]:
        """Stem with its BatchNorm and four stages."""
        stages = [self.features.get_submodule(f"layer{stage}") for stage in (1, 2, 3, 4)]
        return [self.features[:2], *stages]

    def forward(self, images: Tensor) -> Tensor:
        """Images ``[N,C,H,W]`` in [0,1] to logits ``[N,classes]``."""
        logits: Tensor = self.classifier(self.features(self.normalize(images)))
        return logits
