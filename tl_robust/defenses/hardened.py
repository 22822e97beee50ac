"""What defenses share by which another model than B, A or a teacher, is trained adversarially."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

from torch import Tensor, nn
from typing_extensions import override

from tl_robust.defenses.adversarial import Adversarial
from tl_robust.defenses.base import Defense, Task
from tl_robust.defenses.fgsm_rs import FgsmRs
from tl_robust.defenses.pgd_at import PgdAt
from tl_robust.defenses.trades import Trades
from tl_robust.errors import ConfigError
from tl_robust.registry import Scalar

KINDS: dict[str, type[Adversarial]] = {"pgd_at": PgdAt, "fgsm_rs": FgsmRs, "trades": Trades}


@dataclass(frozen=True)
class Hardened(Defense):
    """Base of defenses by which a model is trained adversarially; its eps is the bench's, as ever, and so is its epoch.

    Attributes:
        by: ``pgd_at``, ``fgsm_rs`` or ``trades``, with their other settings as they are.
        eps: As of :attr:`by`.
        beta: As of ``trades``; 0 for others.
    """

    by: str = "pgd_at"
    eps: float = 0.0
    beta: float = 0.0

    def __post_init__(self) -> None:
        name = self.component.name
        if self.by not in KINDS:
            raise ConfigError(f"setting 'by' of {name} must be one of {', '.join(KINDS)}, got {self.by!r}.")
        if self.beta and self.by != "trades":
            raise ConfigError(f"{name} needs beta with by: trades alone, got {self}.")
        _ = self.training

    @property
    def training(self) -> Adversarial | None:
        """The adversarial training; None where a setting says that there is none."""
        return Trades(self.eps, self.beta) if self.by == "trades" else KINDS[self.by](self.eps)

    @override
    def suited(self, eps: Sequence[float], space: str) -> Self:
        if not self.training:
            return self
        own = self.training.suited(eps, space)
        return replace(self, eps=own.eps, beta=getattr(own, "beta", 0.0))

    @override
    def check(self, task: Task, samples: int, options: Mapping[str, Scalar]) -> None:
        if self.training:
            self.training.check(task, samples, options)

    @override
    def loss(self, task: Task, batch: Sequence[Tensor], others: Mapping[str, nn.Module]) -> Tensor:
        return self.training.loss(task, batch, others) if self.training else super().loss(task, batch, others)

    @override
    def score(self, task: Task, batch: Sequence[Tensor]) -> Tensor | None:
        return self.training.score(task, batch) if self.training else None

    @override
    def remark(self, task: Task) -> str:
        return self.training.remark(task) if self.training else ""
