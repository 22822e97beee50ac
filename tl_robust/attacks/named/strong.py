"""Several strong attacks in turn, for verdicts on one model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from torch import Tensor
from typing_extensions import override

from tl_robust.attacks.base import ATTACKS, Attack
from tl_robust.attacks.cascade import Attempt, cascade
from tl_robust.attacks.named.apgd_ce import APGDCE
from tl_robust.attacks.named.apgd_t import APGDT
from tl_robust.attacks.named.square import Square
from tl_robust.attacks.problem import Notes, Problem
from tl_robust.errors import ConfigError
from tl_robust.seeding import derive


@ATTACKS.register
@dataclass(frozen=True)
class Strong(Attack):
    """Auto-PGD on the cross entropy, then towards other classes, then the Square attack; each on those still standing.

    The cascade of AutoAttack without FAB (Croce and Hein, "Reliable evaluation of adversarial robustness with an
    ensemble of diverse parameter-free attacks", ICML 2020). Here the Square attack goes on from the best images so far.
    In white-box mode what falls at an eps has fallen at every larger one. In transfer a sample takes the images of the
    first attack that fools the surrogate, else those of the largest margin. Each attack has its own objective, and the
    margin decides between them.

    Attributes:
        steps: Steps of each Auto-PGD, at least 1.
        targets: Number of wrong classes that are aimed at, 0 or more.
        queries: Queries of the Square attack, 0 or more.
    """

    VERSION: ClassVar[int] = 2  # its ascents go on from the images of the largest margin
    objective: str = "margin"
    steps: int = 100
    targets: int = 9
    queries: int = 5000

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, good, expected in (
            ("norm", self.norm in ("linf", "l2"), "linf or l2"),
            ("objective", self.objective == "margin", "margin: its attacks have their own"),
            ("steps", self.steps >= 1, "at least 1"),
            ("targets", self.targets >= 0, "0 or more"),
            ("queries", self.queries >= 0, "0 or more"),
        ):
            if not good:
                raise ConfigError(f"{name} of attack 'strong' must be {expected}, got {getattr(self, name)}.")

    @property
    def parts(self) -> list[Attack]:
        """The attacks in their order."""
        attacks: list[Attack] = [APGDCE(self.norm, steps=self.steps)]
        for rank in range(1, self.targets + 1):  # one class at a time: what has fallen is not aimed at again
            attacks.append(APGDT(self.norm, f"target(form=dlr, rank={rank})", steps=self.steps, restarts=1))
        if self.queries:
            attacks.append(Square(self.norm, queries=self.queries))
        return attacks

    @override
    def perturb(self, problem: Problem, eps: list[float]) -> Iterator[Tensor]:
        attempts: list[Attempt] = [partial(_attempt, place, attack) for place, attack in enumerate(self.parts)]
        yield from cascade(problem, eps, attempts)


def _attempt(place: int, attack: Attack, problem: Problem, eps: float, before: Tensor) -> Tensor:
    """Images of one attack. The notes are those of the first one: other objectives have other losses."""
    own = problem.towards(attack.goal)
    own.seed = derive(problem.seed, attack.title, place)
    if place:
        own.notes = Notes.blank(len(problem.notes.zero), problem.clean.device)
    return attack.search(own, eps, before) if isinstance(attack, Square) else next(attack.perturb(own, [eps]))
