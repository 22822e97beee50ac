"""Networks that learn real digits in a few seconds."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tl_robust import attacks


def train(
    network: nn.Module, digits: tuple[Tensor, Tensor], epochs: int, lr: float = 0.05, eps: float = 0
) -> nn.Module:
    """With ``eps`` on images of two steps of PGD."""
    images, labels = (part[400:] for part in digits)
    attack = attacks.get("pgd", steps=2, step_size=0.7)
    optimizer = torch.optim.SGD(network.parameters(), lr=lr, momentum=0.9)
    network.train()
    for _ in range(epochs):
        for part in torch.randperm(len(images)).split(64):
            batch = attack(network, images[part], labels[part], [eps])[0]
            optimizer.zero_grad()
            cross_entropy(network(batch), labels[part]).backward()
            optimizer.step()
    return network.eval()


class Residual(nn.Module):
    """Two convolutions with BatchNorm beside a shortcut, as in a ResNet."""

    def __init__(self, before: int, size: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            nn.Conv2d(before, size, 3, 2, 1), nn.BatchNorm2d(size), nn.ReLU(), nn.Conv2d(size, size, 3, 1, 1),
            nn.BatchNorm2d(size),
        )  # fmt: skip
        self.shortcut = nn.Conv2d(before, size, 1, 2)

    def forward(self, images: Tensor) -> Tensor:
        return (self.inner(images) + self.shortcut(images)).relu()
