"""The relative likelihood of a sample, beside those of samples that nobody learned from."""

from dataclasses import dataclass
from math import log
from typing import ClassVar

import torch
from torch import Tensor
from typing_extensions import override

from tl_robust.errors import ConfigError
from tl_robust.inference.base import INFERENCES, Seen, ShadowInference, Told
from tl_robust.inference.sides import log_mean_inside


@INFERENCES.register
@dataclass(frozen=True)
class Rmia(ShadowInference):
    """Zarifzadeh, Liu, Shokri, "Low-cost high-power membership inference attacks" (RMIA), ICML 2024.

    The share of samples z of a population with ``(p(x) / mean p(x)) / (p(z) / mean p(z)) >= gamma``, where the means
    are over shadows. For one model this is a function of the first ratio that only grows, with ties where all or none
    of the population is passed; these are broken by the ratio.

    Attributes:
        mode: ``online``: the mean of those that learned from x and of those that did not; ``offline``: of the latter
            alone, ``((1 + a) p_out + (1 - a)) / 2``.
        gamma: At least 1.
        a: For offline, in [0, 1].
    """

    POPULATION: ClassVar[bool] = True

    mode: str = "online"
    gamma: float = 2.0
    a: float = 0.3

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mode not in ("online", "offline"):
            raise ConfigError(f"setting 'mode' of rmia must be online or offline, got {self.mode!r}.")
        if not self.gamma >= 1 or not 0 <= self.a <= 1:
            raise ConfigError(
                f"setting 'gamma' of rmia must be at least 1 and 'a' in [0, 1], got {self.gamma} and {self.a}."
            )

    @override
    def score(self, seen: Seen) -> Tensor:
        ratio = self._ratio(seen.victim, seen.shadows, seen.inside)
        nobody = torch.zeros_like(seen.shadow_population.loss, dtype=torch.bool)
        beside = self._ratio(seen.population, seen.shadow_population, nobody).sort().values
        passed = torch.searchsorted(beside, ratio - log(self.gamma), right=True)
        share = (passed + ratio / (1 + ratio.abs()) / 2 + 0.5) / (len(beside) + 1)  # the ratio moves it by at most one
        return share.masked_fill(beside.isnan().any(), torch.nan)

    def _ratio(self, victim: Told, shadows: Told, inside: Tensor) -> Tensor:
        """Logarithm of p over its mean; of samples that no shadow learned from the mean is over all of them."""
        log_p = -shadows.loss
        usual = log_mean_inside(log_p, ~inside)
        if self.mode == "offline":
            own, fixed = torch.tensor([(1 + self.a) / 2, (1 - self.a) / 2], dtype=torch.float64).log()
            usual = torch.logaddexp(usual + own, fixed)
        elif bool(inside.any()):
            usual = torch.logaddexp(usual, log_mean_inside(log_p, inside)) - log(2)
        return -victim.loss - usual
