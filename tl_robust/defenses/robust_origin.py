"""An origin that was trained adversarially."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Self

from torch import Tensor, nn
from typing_extensions import override

from tl_robust.defenses.adaptive import Adaptive
from tl_robust.defenses.adversarial import Adversarial
from tl_robust.defenses.base import DEFENSES, Defense, Lineage, M, Task, Trainings
from tl_robust.defenses.fgsm_rs import FgsmRs
from tl_robust.defenses.pgd_at import PgdAt
from tl_robust.defenses.trades import Trades
from tl_robust.errors import ConfigError
from tl_robust.registry import Scalar

KINDS: dict[str, type[Adversarial]] = {"pgd_at": PgdAt, "fgsm_rs": FgsmRs, "trades": Trades}


@DEFENSES.register
@dataclass(frozen=True)
class RobustOrigin(Defense):
    """Salman et al., "Do adversarially robust ImageNet models transfer better?", NeurIPS 2020: a robust A for B.

    The plain A is trained further, adversarially, on its own domain, and is then what is public. B is trained by the
    strategy as it is; ``robust_origin + pgd_at`` trains it adversarially, too.

    Attributes:
        by: ``pgd_at``, ``fgsm_rs`` or ``trades``, with their other settings as they are.
        eps: As of :attr:`by`.
        epochs: Epochs of the further training, from 1; 0: as many as A's.
        beta: As of ``trades``; 0 for others.
    """

    ON: ClassVar[Literal["victim", "origin"]] = "origin"
    REPAIRS: ClassVar[bool] = True
    CLEAN: ClassVar[bool] = True

    by: str = "pgd_at"
    eps: float = 0.0
    epochs: int = 0
    beta: float = 0.0

    def __post_init__(self) -> None:
        if self.by not in KINDS:
            raise ConfigError(f"setting 'by' of robust_origin must be one of {', '.join(KINDS)}, got {self.by!r}.")
        if self.epochs < 0 or (self.beta and self.by != "trades"):
            raise ConfigError(f"robust_origin needs epochs from 0, and beta with by: trades alone, got {self}.")
        _ = self.training

    @property
    def training(self) -> Adversarial:
        """The adversarial training of A."""
        return Trades(self.eps, self.beta) if self.by == "trades" else KINDS[self.by](self.eps)

    @override
    def suited(self, eps: Sequence[float], space: str) -> Self:
        own = self.training.suited(eps, space)
        return replace(self, eps=own.eps, beta=getattr(own, "beta", 0.0))

    @override
    def check(self, task: Task, samples: int, options: Mapping[str, Scalar]) -> None:
        self.training.check(task, samples, options)

    @override
    def lineage(self, train: Trainings[M], a: M, b: M) -> Lineage[M]:
        robust = a.further(self.epochs, self.component)
        victim = b.upon(a, robust)
        if victim == b:
            raise ConfigError(f"robust_origin changes nothing of {b}, which does not start from A: use finetune.")
        return Lineage(robust, victim, (a,))

    @override
    def loss(self, task: Task, batch: Sequence[Tensor], others: Mapping[str, nn.Module]) -> Tensor:
        return self.training.loss(task, batch, others)

    @override
    def score(self, task: Task, batch: Sequence[Tensor]) -> Tensor | None:
        return self.training.score(task, batch)

    @override
    def remark(self, task: Task) -> str:
        return self.training.remark(task)

    @override
    def adaptive(self) -> tuple[Adaptive, ...]:
        return (
            Adaptive("The network's own gradient; in the black box that of the robust A, which is what is public."),
        )
