"""The fast gradient sign method."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from typing_extensions import override

from tl_robust.attacks.base import ATTACKS, Attack
from tl_robust.attacks.problem import Problem
from tl_robust.errors import ConfigError


@ATTACKS.register
@dataclass(frozen=True)
class FGSM(Attack):
    """One step of the full eps along the steepest direction; one gradient serves all eps.

    The direction is the sign of the gradient for ``linf`` and the gradient over its length for ``l2`` (FGM).

    Goodfellow, Shlens, Szegedy, "Explaining and harnessing adversarial examples", ICLR 2015.
    """

    ITERATES: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.goal.FLAT:
            raise ConfigError(
                f"attack 'fgsm' takes its gradient at the clean image, where objective {self.objective!r} has none: "
                "use pgd."
            )

    @override
    def perturb(self, problem: Problem, eps: list[float]) -> Iterator[Tensor]:
        gradient = problem.gradient(problem.clean).gradient
        for size in eps:
            yield problem.clean + problem.norm.step(problem.clean, gradient, size)
