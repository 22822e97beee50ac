"""Two layers, for trials."""

import torch
from torch import nn

from tl_robust.models import NETWORKS


@NETWORKS.register
class Small(nn.Module):
    """A convolution and a linear layer. Arguments with a default are settings."""

    def __init__(self, image_shape: tuple[int, int, int], classes: int, channels: int = 8) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(image_shape[0], channels, 3, stride=2), nn.BatchNorm2d(channels))
        self.classifier = nn.Linear(2 * channels, classes)  # the layer that a child with other classes has anew

    @property
    def blocks(self):  # from the first to the last before the classifier
        return [self.features]

    def forward(self, images):  # float32 [N,C,H,W] in [0,1] to logits [N,classes]
        hidden = self.features(images)
        return self.classifier(torch.cat([hidden.tanh().mean((2, 3)), hidden.square().mean((2, 3))], 1))
