"""The mean answer under fixed noise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import ClassVar

from torch import Tensor, nn
from typing_extensions import override

from tl_robust.defenses.adaptive import Adaptive
from tl_robust.defenses.base import DEFENSES, Defense
from tl_robust.errors import ConfigError
from tl_robust.models.guard import Guard
from tl_robust.models.randomized import Randomized, noise_of
from tl_robust.types import ImageSet
from tl_robust.types.terms import ATLAS, NIST, Terms

GUESSES = 20  # noises of the attacker's own, at least, over which he takes the mean


@DEFENSES.register
@dataclass(frozen=True)
class Randomize(Defense):
    """The logarithm of the mean probabilities under ``draws`` Gaussian noises of spread ``sigma``, in [0,1] units.

    Randomized smoothing without its certificate: Cohen, Rosenfeld, Kolter, "Certified adversarial robustness via
    randomized smoothing", ICML 2019. The noises are drawn once, by the key of the victim, and are the same for every
    image, so that an answer can be repeated. ``augment(strength=0.25) + randomize`` trains B on noise, too.

    Attributes:
        sigma: Spread of the noise in [0,1] pixel units, from 0 to 10; with 0 the network stands as it is.
        draws: Noises whose answers are averaged, at least 1; inference takes so many times as long.
    """

    TERMS: ClassVar[Terms] = {NIST: "mitigation, randomized smoothing", ATLAS: "AML.M0010"}
    NEUTRAL = {"sigma": 0.0}

    sigma: float = 0.25
    draws: int = 8

    def __post_init__(self) -> None:
        if not 0 <= self.sigma <= 10 or self.draws < 1:
            raise ConfigError(f"randomize needs sigma from 0 to 10 and draws from 1, got {self}.")

    @override
    def fit(self, network: nn.Module, validation: ImageSet, seed: int) -> dict[str, Tensor]:
        return {"noise": noise_of((self.draws, *validation.images.shape[1:]), seed)}

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
            Adaptive("A strong pattern all over the image stands above the noise.", backdoor="blend(alpha=0.4)"),
        )
