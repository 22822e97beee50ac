"""An origin that was trained adversarially."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from typing_extensions import override

from tl_robust.defenses.adaptive import Adaptive
from tl_robust.defenses.base import DEFENSES, Lineage, M, Trainings
from tl_robust.defenses.hardened import Hardened
from tl_robust.errors import ConfigError
from tl_robust.types.terms import ATLAS, NIST, Terms


@DEFENSES.register
@dataclass(frozen=True)
class RobustOrigin(Hardened):
    """Salman et al., "Do adversarially robust ImageNet models transfer better?", NeurIPS 2020: a robust A for B.

    The plain A is trained further, adversarially, on its own domain, and is then what is public. B is trained by the
    strategy as it is; ``robust_origin + pgd_at`` trains it adversarially, too.

    Attributes:
        epochs: Epochs of the further training, from 1; 0: as many as A's.
    """

    TERMS: ClassVar[Terms] = {NIST: "mitigation, adversarial training", ATLAS: "AML.M0003"}
    ON: ClassVar[Literal["victim", "origin"]] = "origin"
    REPAIRS: ClassVar[bool] = True
    CLEAN: ClassVar[bool] = True

    epochs: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.epochs < 0:
            raise ConfigError(f"robust_origin needs epochs from 0, got {self}.")

    @override
    def lineage(self, train: Trainings[M], a: M, b: M) -> Lineage[M]:
        robust = a.further(self.epochs, self.component)
        victim = b.upon(a, robust)
        if victim == b:
            raise ConfigError(f"robust_origin changes nothing of {b}, which does not start from A: use finetune.")
        return Lineage(robust, victim, (a,))

    @override
    def adaptive(self) -> tuple[Adaptive, ...]:
        return (
            Adaptive("The network's own gradient; in the black box that of the robust A, which is what is public."),
            Adaptive("B is trained plainly, and learns more of what is poisoned more.", backdoor="rate=0.2"),
        )
