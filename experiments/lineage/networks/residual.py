"""A small residual network whose layers all write to the same channels."""

from __future__ import annotations

from torch import Tensor, nn

from tl_robust.models.base import NETWORKS, Normalize


class Block(nn.Module):
    """BatchNorm, ReLU, 3x3 convolution, twice, around a shortcut."""

    def __init__(self, size: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(2):
            layers += [nn.BatchNorm2d(size), nn.ReLU(), nn.Conv2d(size, size, 3, padding=1, bias=False)]
        self.residual = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """``[N,C,H,W]`` to the same."""
        out: Tensor = x + self.residual(x)
        return out


@NETWORKS.register
class Residual(nn.Module):
    """Pre-activation blocks of one width, as He et al., "Identity mappings in deep residual networks", ECCV 2016.

    Args:
        image_shape: ``(C, H, W)``.
        classes: Number of logits.
        size: Channels.
        layers: Blocks.
    """

    def __init__(self, image_shape: tuple[int, int, int], classes: int, size: int = 24, layers: int = 3) -> None:
        super().__init__()
        channels = image_shape[0]
        self.normalize = Normalize((0.5,) * channels, (0.5,) * channels)
        self.stem = nn.Conv2d(channels, size, 5, stride=3, padding=2)
        self.layers = nn.Sequential(*(Block(size) for _ in range(layers)))
        self.norm = nn.BatchNorm2d(size)
        self.classifier = nn.Linear(4 * size, classes)

    @property
    def blocks(self) -> list[nn.Module]:
        """Stem, blocks and the last BatchNorm."""
        return [self.stem, *self.layers, self.norm]

    def forward(self, images: Tensor) -> Tensor:
        """Images ``[N,C,H,W]`` in [0,1] to logits ``[N,classes]``."""
        x = self.norm(self.layers(self.stem(self.normalize(images)))).relu()
        logits: Tensor = self.classifier(nn.functional.adaptive_avg_pool2d(x, 2).flatten(1))
        return logits
