"""The network for digits of the KDD 2020 paper."""

from __future__ import annotations

from torch import Tensor, nn

from tl_robust.errors import ConfigError
from tl_robust.models.base import NETWORKS, Normalize
from tl_robust.models.normalization import normalization


@NETWORKS.register
class DTN(nn.Module):
    """Three strided 5x5 convolutions and two linear layers; 3,133,962 parameters at width 1 for ten classes.

    Each convolution is followed by BatchNorm, Dropout2d and ReLU, in the order of the public code of Zhang et al., KDD
    2020 (https://arxiv.org/abs/2008.11089). Inputs are scaled to [-1, 1] by the first layer. The width factor is ours.

    Args:
        image_shape: ``(C, H, W)``; H and W divisible by 8.
        classes: Number of logits.
        width: Factor on all hidden sizes, above 0.
        norm: ``batch``, or ``group``: GroupNorm in place of BatchNorm, for differential privacy.
        dropout: Factor on all shares that are dropped, in [0, 1]; 0: none, so that a training may learn by heart.
    """

    VERSION = 1

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        classes: int,
        width: float = 1.0,
        norm: str = "batch",
        dropout: float = 1.0,
    ) -> None:
        super().__init__()
        if not 0 < width <= 16:
            raise ConfigError(f"setting 'width' of network 'dtn' must be above 0 and at most 16, got {width}.")
        if not 0 <= dropout <= 1:
            raise ConfigError(f"setting 'dropout' of network 'dtn' must be in [0, 1], got {dropout}.")
        channels, height, side = image_shape
        if height % 8 or side % 8:
            raise ConfigError(f"network 'dtn' needs image sides divisible by 8, got {height}x{side}.")
        sizes = [max(1, round(size * width)) for size in (64, 128, 256)]
        hidden = max(1, round(512 * width))
        convolutions: list[nn.Module] = []
        for before, size, share in zip([channels, *sizes], sizes, (0.1, 0.3, 0.5), strict=False):
            convolutions += [
                nn.Conv2d(before, size, 5, stride=2, padding=2),
                normalization(norm, size),
                nn.Dropout2d(dropout * share),
                nn.ReLU(),
            ]
        self.normalize = Normalize((0.5,) * channels, (0.5,) * channels)
        self.features = nn.Sequential(*convolutions, nn.Flatten())
        self.hidden = nn.Sequential(
            nn.Linear(sizes[-1] * (height // 8) * (side // 8), hidden),
            normalization(norm, hidden, flat=True),
            nn.ReLU(),
            nn.Dropout(dropout * 0.5),
        )
        self.classifier = nn.Linear(hidden, classes)

    @property
    def blocks(self) -> list[nn.Module]:
        """Three of a convolution, BatchNorm, dropout and ReLU each, and the hidden layer."""
        return [self.features[:4], self.features[4:8], self.features[8:12], self.hidden]

    def forward(self, images: Tensor) -> Tensor:
        """Images ``[N,C,H,W]`` in [0,1] to logits ``[N,classes]``."""
        logits: Tensor = self.classifier(self.hidden(self.features(self.normalize(images))))
        return logits
