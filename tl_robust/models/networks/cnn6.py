"""A small network for digits of photographs, with public weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor, nn

from tl_robust.errors import ConfigError
from tl_robust.models.base import NETWORKS, Normalize, check_color

MEAN, STD = (0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970)  # SVHN's statistics, which the public weights expect


@NETWORKS.register
class CNN6(nn.Module):
    """Six 3x3 convolutions and two linear layers; 815,018 parameters for ten classes and 32x32 images.

    SVHNNet of the Python package ccexam 1.0.0, whose weights are public. Three blocks of 32, 64 and 128 channels, each
    convolution, BatchNorm, ReLU twice, then a max pool of 2. The hidden layer has 256 values. Inputs are normalized
    with SVHN's mean and spread. :attr:`ALIASES` tells what the weights are called in that package.

    Args:
        image_shape: ``(3, H, W)``, sides at least 8; they are halved three times, rounded down.
        classes: Number of logits.
        dropout: Chance that a value before a linear layer is 0 while training; at least 0, below 1.

    Attributes:
        ALIASES: Prefixes of the public names and the prefixes here; see :mod:`tl_robust.models.checkpoint`.
    """

    VERSION = 1
    ALIASES: ClassVar[Mapping[str, str]] = {"classifier.1": "hidden.2", "classifier.4": "classifier"}

    def __init__(self, image_shape: tuple[int, int, int], classes: int, dropout: float = 0.3) -> None:
        super().__init__()
        channels, height, side = image_shape
        check_color("cnn6", channels)
        if min(height, side) < 8:
            raise ConfigError(f"network 'cnn6' needs image sides of at least 8, got {height}x{side}.")
        if not 0 <= dropout < 1:
            raise ConfigError(f"setting 'dropout' of network 'cnn6' must be at least 0 and below 1, got {dropout}.")
        self.normalize = Normalize(MEAN, STD)
        self.features = nn.Sequential(_block(3, 32), _block(32, 64), _block(64, 128))
        self.hidden = nn.Sequential(
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(128 * (height // 8) * (side // 8), 256),
            nn.ReLU(),
            nn.Dropout(dropout),
        )
        self.classifier = nn.Linear(256, classes)

    @property
    def blocks(self) -> list[nn.Module]:
        """Three blocks of convolutions and the hidden layer."""
        return [*self.features, self.hidden]

    def forward(self, images: Tensor) -> Tensor:
        """Images ``[N,3,H,W]`` in [0,1] to logits ``[N,classes]``."""
        logits: Tensor = self.classifier(self.hidden(self.features(self.normalize(images))))
        return logits


def _block(before: int, size: int) -> nn.Sequential:
    def layers(channels: int) -> list[nn.Module]:
        return [nn.Conv2d(channels, size, 3, padding=1), nn.BatchNorm2d(size), nn.ReLU()]

    return nn.Sequential(*layers(before), *layers(size), nn.MaxPool2d(2))
