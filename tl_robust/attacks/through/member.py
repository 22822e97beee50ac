"""One member of an ensemble."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from torch import Tensor
from typing_extensions import override

from tl_robust.attacks.reach import Guarded
from tl_robust.attacks.through.base import THROUGH, Through
from tl_robust.errors import ConfigError


@runtime_checkable
class Voters(Protocol):
    """An ensemble as the engine sees it; :class:`tl_robust.models.ensemble.Voting` is one."""

    def alone(self, number: int) -> AbstractContextManager[None]:
        """Let one network answer, by its number from 1; 0: the mean probabilities of all."""


@THROUGH.register
@dataclass(frozen=True)
class Member(Through):
    """The gradient of one network of an ensemble, whose weak side the others may hide; or that of another mean.

    Tramer, Carlini, Brendel, Madry, "On adaptive attacks to adversarial example defenses", NeurIPS 2020, ask members of
    ensembles alone.

    Attributes:
        number: From 1, which without an ensemble is the network itself; 0: the mean of all members' probabilities,
            whatever the ensemble takes the mean of.
    """

    number: int = 1

    def __post_init__(self) -> None:
        if self.number < 0:
            raise ConfigError(f"number of a member must be at least 0, got {self.number}.")

    @override
    def logits(self, guard: Guarded, images: Tensor) -> Tensor:
        inside: Any = guard
        voters = next((module for module in inside.modules() if isinstance(module, Voters)), None)
        if voters is None and self.number > 1:
            raise ConfigError(f"there is no member {self.number} where a guard has no ensemble inside: use 'exact'.")
        with voters.alone(self.number) if voters else nullcontext():
            return guard.chain(images, lambda link, given: link(given))
