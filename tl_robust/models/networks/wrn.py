"""The network for objects of the KDD 2020 paper, a wide residual network."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from tl_robust.errors import ConfigError
from tl_robust.models.base import NETWORKS, Normalize


class Block(nn.Module):
    """BatchNorm, ReLU, 3x3 convolution, twice, with dropout before the second convolution, plus a shortcut.

    Where the sizes differ, the shortcut is a 1x1 convolution of the activated input; else it is the input itself.
    """

    def __init__(self, before: int, size: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.activate = nn.Sequential(nn.BatchNorm2d(before), nn.ReLU(inplace=True))
        self.residual = nn.Sequential(
            nn.Conv2d(before, size, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(size),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Conv2d(size, size, 3, padding=1, bias=False),
        )
        self.shortcut = None if before == size else nn.Conv2d(before, size, 1, stride=stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Features ``[N,before,H,W]`` to ``[N,size,H/stride,W/stride]``, rounded up."""
        active = self.activate(x)
        kept = x if self.shortcut is None else self.shortcut(active)
        total: Tensor = self.residual(active) + kept
        return total


@NETWORKS.register
class WRN(nn.Module):
    """Wide ResNet of basic pre-activation blocks; 36,479,194 parameters for WRN-28-10 and ten classes.

    Zagoruyko and Komodakis, "Wide Residual Networks", BMVC 2016: blocks, stem and initial weights as in their public
    Lua code, except that BatchNorm starts at 1, PyTorch's habit. Inputs are scaled to [-1, 1] by the first layer, as in
    DTN, and not by the statistics of CIFAR: an image means the same whatever domain it is from.

    Args:
        image_shape: ``(C, H, W)``; H and W are halved twice.
        classes: Number of logits.
        depth: Convolutions on the longest way plus the linear layer, 6n + 4 for n blocks in each of three groups.
        width: Factor on the sizes 16, 32 and 64 of the groups, at least 1.
        dropout: Chance that a value between the convolutions of a block is 0 while training; at least 0, below 1.
    """

    VERSION = 1

    def __init__(
        self, image_shape: tuple[int, int, int], classes: int, depth: int = 28, width: int = 10, dropout: float = 0.0
    ) -> None:
        super().__init__()
        if depth < 10 or (depth - 4) % 6:
            raise ConfigError(f"setting 'depth' of network 'wrn' must be 6n + 4 (10, 16, 22, 28, ...), got {depth}.")
        if not 1 <= width <= 64:
            raise ConfigError(f"setting 'width' of network 'wrn' must be 1 to 64, got {width}.")
        if not 0 <= dropout < 1:
            raise ConfigError(f"setting 'dropout' of network 'wrn' must be at least 0 and below 1, got {dropout}.")
        channels = image_shape[0]
        blocks = (depth - 4) // 6
        layers: OrderedDict[str, nn.Module] = OrderedDict(stem=nn.Conv2d(channels, 16, 3, padding=1, bias=False))
        before = 16
        for group, stride in enumerate((1, 2, 2)):
            size = 16 * width * 2**group
            layers[f"group{group + 1}"] = nn.Sequential(
                Block(before, size, stride, dropout), *(Block(size, size, 1, dropout) for _ in range(blocks - 1))
            )
            before = size
        layers["norm"] = nn.BatchNorm2d(before)
        layers["relu"] = nn.ReLU(inplace=True)
        layers["pool"] = nn.AdaptiveAvgPool2d(1)
        layers["flatten"] = nn.Flatten()
        self.normalize = Normalize((0.5,) * channels, (0.5,) * channels)
        self.features = nn.Sequential(layers)
        self.classifier = nn.Linear(before, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.classifier.bias)

    @property
    def blocks(self) -> list[nn.Module]:
        """Stem and three groups; the last BatchNorm belongs to the last group."""
        stem, *groups, last, norm = self.features[:5]
        return [stem, *groups, nn.Sequential(last, norm)]

    def forward(self, images: Tensor) -> Tensor:
        """Images ``[N,C,H,W]`` in [0,1] to logits ``[N,classes]``."""
        logits: Tensor = self.classifier(self.features(self.normalize(images)))
        return logits
