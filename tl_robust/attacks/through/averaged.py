"""The mean over a guard's random draws."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from typing_extensions import override

from tl_robust.attacks.reach import Guarded
from tl_robust.attacks.through.base import THROUGH, Through
from tl_robust.errors import ConfigError


@THROUGH.register
@dataclass(frozen=True)
class Averaged(Through):
    """Mean logits over draws of the attacker's own: the defender's were fixed when the guard was fitted.

    A link that draws has a method ``anew(images, number)``, the same with the draws of that number; others answer as
    ever. Athalye, Engstrom, Ilyas, Kwok, "Synthesizing robust adversarial examples", ICML 2018 (EOT), with the mean
    before the loss instead of after it.

    Attributes:
        draws: Number of draws, at least 1.
    """

    draws: int = 20

    def __post_init__(self) -> None:
        if self.draws < 1:
            raise ConfigError(f"draws of 'averaged' must be at least 1, got {self.draws}.")

    @override
    def logits(self, guard: Guarded, images: Tensor) -> Tensor:
        return torch.stack([guard.chain(images, partial(_ask, number)) for number in range(self.draws)]).mean(0)


def _ask(number: int, link: nn.Module, images: Tensor) -> Tensor:
    anew = getattr(link, "anew", None)
    answer: Tensor = link(images) if anew is None else anew(images, number)
    return answer
