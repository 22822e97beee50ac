"""A small vision transformer, for fine-tuning of low rank, which needs attention."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tl_robust.models.base import NETWORKS, Normalize


class Layer(nn.Module):
    """Attention and a hidden layer, each behind LayerNorm and around a shortcut."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.before, self.between = nn.LayerNorm(size), nn.LayerNorm(size)
        self.attention = nn.MultiheadAttention(size, 4, batch_first=True)
        self.hidden = nn.Sequential(nn.Linear(size, 2 * size), nn.GELU(), nn.Linear(2 * size, size))

    def forward(self, x: Tensor) -> Tensor:
        """``[N,T,E]`` to the same."""
        inside = self.before(x)
        x = x + self.attention(inside, inside, inside, need_weights=False)[0]
        out: Tensor = x + self.hidden(self.between(x))
        return out


@NETWORKS.register
class Patches(nn.Module):
    """Dosovitskiy et al., "An image is worth 16x16 words", ICLR 2021, small, with the mean of all patches at the end.

    Args:
        image_shape: ``(C, H, W)``; sides divisible by ``side``.
        classes: Number of logits.
        size: Of the vector of a patch, divisible by 4.
        layers: How many.
        side: Of a patch, in pixels.
    """

    def __init__(
        self, image_shape: tuple[int, int, int], classes: int, size: int = 48, layers: int = 2, side: int = 8
    ) -> None:
        super().__init__()
        channels, height, width = image_shape
        self.normalize = Normalize((0.5,) * channels, (0.5,) * channels)
        self.patches = nn.Conv2d(channels, size, side, stride=side)
        self.places = nn.Parameter(0.5 * torch.randn(1, height // side * (width // side), size))
        self.layers = nn.Sequential(*(Layer(size) for _ in range(layers)))
        self.norm = nn.LayerNorm(size)
        self.classifier = nn.Linear(size, classes)

    @property
    def blocks(self) -> list[nn.Module]:
        """Patches, layers and the last LayerNorm; the places are a parameter of the network itself."""
        return [self.patches, *self.layers, self.norm]

    def forward(self, images: Tensor) -> Tensor:
        """Images ``[N,C,H,W]`` in [0,1] to logits ``[N,classes]``."""
        x = self.patches(self.normalize(images)).flatten(2).transpose(1, 2) + self.places
        logits: Tensor = self.classifier(self.norm(self.layers(x)).mean(1))
        return logits
