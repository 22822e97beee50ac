"""The mean answer of a network under fixed noise.

Axes: N samples, C channels, H height, W width, D draws.
"""

from __future__ import annotations

from math import log

import torch
from torch import Tensor, nn
from typing_extensions import override

from tl_robust.models.guard import Ask, Guard
from tl_robust.seeding import generator


class Randomized(Guard):
    """The mean of a network's probabilities over noises.

    Args:
        network: What is defended.
        noise: ``[D,C,H,W]``, standard normal.
        sigma: The spread that it gets.
    """

    def __init__(self, network: nn.Module, noise: Tensor, sigma: float) -> None:
        super().__init__(network)
        weight = next(network.parameters(), torch.zeros(()))
        self.noises = nn.ModuleList(Noisy(sigma * each.to(weight), sigma, place) for place, each in enumerate(noise))

    @override
    def chain(self, images: Tensor, ask: Ask) -> Tensor:
        answers = [self.inside(ask(noisy, images), ask).log_softmax(1) for noisy in self.noises]
        return torch.stack(answers).logsumexp(0) - log(len(answers))


class Noisy(nn.Module):
    """Adds a noise that is always the same.

    Args:
        noise: ``[C,H,W]``.
        sigma: Its spread.
        place: Its number among the noises of the guard.
    """

    noise: Tensor

    def __init__(self, noise: Tensor, sigma: float, place: int) -> None:
        super().__init__()
        self.register_buffer("noise", noise)
        self.sigma, self.place = sigma, place

    def forward(self, images: Tensor) -> Tensor:
        """Images ``[N,C,H,W]`` with the noise on each; they may leave [0,1]."""
        return images + self.noise.to(images.dtype)

    def anew(self, images: Tensor, number: int) -> Tensor:
        """The same with the noise of a number in place of the defender's."""
        return images + self.sigma * noise_of(images.shape[1:], number, self.place).to(images)


def noise_of(shape: tuple[int, ...], *key: int) -> Tensor:
    """Standard normal numbers, float32; another key gives unrelated ones."""
    return torch.randn(shape, generator=generator("randomize", *key))
