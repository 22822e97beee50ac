"""The likelihood ratio of two normal distributions."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from typing_extensions import override

from tl_robust.errors import ConfigError
from tl_robust.inference.base import INFERENCES, Seen, ShadowInference
from tl_robust.inference.sides import mean_inside, mean_outside, shared_variance, variance_inside

PRIOR = 4  # shadows that the shared variance counts for beside a sample's own
ROUNDING = 1e-20  # a variance below comes from rounding alone: all shadows say the same


@INFERENCES.register
@dataclass(frozen=True)
class Lira(ShadowInference):
    """Carlini, Chien, Nasr, Song, Terzis, Tramer, "Membership inference from first principles", IEEE S&P 2022.

    The margins of shadows that learned from a sample, and of those that did not, are two normal distributions. Online
    is the logarithm of the ratio of their densities at the victim's margin; offline is how far above the second one it
    lies, in standard deviations: a function of the tail of their one-sided test, ``log P(N(0, 1) <= z)``, that only
    grows and is the same for all samples, so that both order all samples in the same way.

    Attributes:
        mode: ``online`` or ``offline``.
        variance: ``own`` of each sample, which needs many shadows; ``shared`` by all samples, around the mean of each;
            ``shrunken`` from the first toward the second, ``(4 shared + n own) / (4 + n)``, with Student's t of as many
            degrees of freedom. A variance of 0 gives no answer.
    """

    LEAST: ClassVar[int] = 3

    mode: str = "online"
    variance: str = "shared"

    def __post_init__(self) -> None:
        super().__post_init__()
        known = {"mode": ("online", "offline"), "variance": ("own", "shared", "shrunken")}
        for name, values in known.items():
            if (value := getattr(self, name)) not in values:
                raise ConfigError(f"setting {name!r} of lira must be {', '.join(values)}, got {value!r}.")

    @property
    @override
    def enough(self) -> int:
        return 64 if self.variance == "own" else super().enough

    @override
    def score(self, seen: Seen) -> Tensor:
        own, shadows, inside = seen.victim.margin, seen.shadows.margin, seen.inside
        outside_mean = mean_outside(shadows, inside)
        if self.mode == "offline":
            return (own - outside_mean) / self._variance(shadows, ~inside)[0].sqrt()
        inside_mean = mean_inside(shadows, inside)
        return self._density(own - inside_mean, shadows, inside) - self._density(own - outside_mean, shadows, ~inside)

    def _variance(self, shadows: Tensor, inside: Tensor) -> tuple[Tensor, Tensor]:
        """Variance, and the number of shadows behind a sample's own; it takes two to have one."""
        own, count = variance_inside(shadows, inside)
        variance, known = own, torch.where(count > 1, count, 0)
        if self.variance != "own":
            variance = shared_variance(shadows, inside).expand_as(own)
        if self.variance == "shrunken":
            variance = (PRIOR * variance + torch.where(known > 0, known * own, 0.0)) / (PRIOR + known)
        return torch.where(variance > ROUNDING, variance, torch.nan), known

    def _density(self, gap: Tensor, shadows: Tensor, inside: Tensor) -> Tensor:
        """Logarithm of the density of a gap to the mean, but for what is the same on both sides."""
        variance, count = self._variance(shadows, inside)
        if self.variance != "shrunken":
            return -0.5 * (gap.square() / variance + variance.log())
        freedom = (PRIOR + count).double()
        constant = torch.lgamma((freedom + 1) / 2) - torch.lgamma(freedom / 2) - 0.5 * (freedom * variance).log()
        return constant - (freedom + 1) / 2 * torch.log1p(gap.square() / (freedom * variance))
