"""The mean answer under fixed noise.

Axes: N samples, C channels, H height, W width, D draws.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, log

import torch
from torch import Tensor, nn
from typing_extensions import override

from tl_robust.defenses.adaptive import Adaptive
from tl_robust.defenses.base import DEFENSES, Defense
from tl_robust.errors import ConfigError
from tl_robust.models.guard import Ask, Guard
from tl_robust.seeding import generator
from tl_robust.types import ImageSet

GUESSES = 20  # noises of the attacker's own, at least, over which he takes the mean


@DEFENSES.register
@dataclass(frozen=True)
class Randomize(Defense):
    """The logarithm of the mean probabilities under ``draws`` Gaussian noises of spread ``sigma``, in [0,1] units.

    Randomized smoothing without its certificate: Cohen, Rosenfeld, Kolter, "Certified adversarial robustness via
    randomized smoothing", ICML 2019. The noises are drawn once, by the key of the victim, and are the same for every
    image, so that an answer can be repeated. ``augment(strength=0.25) + randomize`` trains B on noise, too.
    """

    NEUTRAL = {"sigma": 0.0}

    sigma: float = 0.25
    draws: int = 8

    def __post_init__(self) -> None:
        if not 0 <= self.sigma <= 10 or self.draws < 1:
            raise ConfigError(f"randomize needs sigma from 0 to 10 and draws from 1, got {self}.")

    @override
    def fit(self, network: nn.Module, validation: ImageSet, seed: int) -> dict[str, Tensor]:
        return {"noise": _noise((self.draws, *validation.images.shape[1:]), seed)}

    @override
    def wrap(self, network: nn.Module, fitted: Mapping[str, Tensor]) -> nn.Module:
        return Randomized(network, fitted["noise"], self.sigma) if self.sigma else Guard(network)

    @override
    def adaptive(self) -> tuple[Adaptive, ...]:
        own = f"averaged(draws={ceil(GUESSES / self.draws)})"
        return (
            Adaptive("The noises are fixed, so that the guard's own gradient is right.", "exact"),
            Adaptive(f"At least {GUESSES} noises that are not the defender's stand for them (EOT).", own),
            Adaptive("A margin does not fade where the mean of probabilities is sure.", "exact", "white", "margin"),
        )


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
        return images + self.sigma * _noise(images.shape[1:], number, self.place).to(images)


def _noise(shape: tuple[int, ...], *key: int) -> Tensor:
    """Standard normal numbers, float32; another key gives unrelated ones."""
    return torch.randn(shape, generator=generator("randomize", *key))
