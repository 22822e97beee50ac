"""What all adversarial training shares: its eps, the images it is attacked with, and the choice of the epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import ClassVar, Self
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.nn.functional import kl_div
from typing_extensions import override

from tl_robust import attacks
from tl_robust.attacks import Ascent, Attack, Problem
from tl_robust.attacks.logits import predicted
from tl_robust.attacks.objectives.divergence import Divergence
from tl_robust.attacks.oracle import Model, Oracle
from tl_robust.defenses.adaptive import Adaptive
from tl_robust.defenses.base import Defense, Task
from tl_robust.errors import ConfigError
from tl_robust.registry import Scalar
from tl_robust.seeding import derive
from tl_robust.text import eps_text
from tl_robust.types.terms import ATLAS, NIST, Terms

SLACK = 1e-9  # of the comparison of two eps
NOISE = 0.001  # deviation of the start beside a clean image
GRADIENT = Adaptive("Nothing stands around the network, so that its own gradient is right.")
INHERITED = Adaptive(
    "A trigger that takes its features from class t of A is inherited with them (Yao et al., CCS 2019).",
    backdoor="latent",
)
MASKED = Adaptive(
    "Training on few steps may bend the gradient alone: several attacks, one without gradients, look for that "
    "(Croce and Hein, ICML 2020).",
    view="white",
    attack="strong(steps=20, targets=3, queries=200)",
)


@cache
def pgd(steps: int = 7, step_size: float = 2.5 / 7) -> Attack:
    """PGD from a uniform start, by default of 7 steps of 2.5 eps / 7 (Madry et al., ICLR 2018)."""
    return attacks.get("pgd", steps=steps, step_size=step_size)


@dataclass(frozen=True, eq=False)
class Nearby(Ascent):
    """10 steps of eps / 4 away from answers, from normal noise of deviation 0.001 around the clean image.

    That is how TRADES attacks (Zhang et al., ICML 2019): at the clean image the divergence has no gradient.

    Attributes:
        answers: Log probabilities ``[N,L]`` of what it goes away from; None: what the network says of the clean images.
    """

    objective: str = "divergence"
    answers: Tensor | None = None

    @property
    @override
    def goal(self) -> Divergence:
        return Divergence() if self.answers is None else _Given(self.answers)

    @override
    def _start(self, problem: Problem, eps: float) -> Tensor:
        return problem.clip(problem.clean + NOISE * problem.normal(problem.clean.shape[1:], "start"), eps)


@dataclass(frozen=True, eq=False)
class _Given(Divergence):
    answers: Tensor

    @override
    def reference(self, problem: Problem) -> Tensor:
        return self.answers


def apart(said: Tensor, wanted: Tensor) -> Tensor:
    """Mean KL divergence of answers from those that are wanted, in nats ``[]``; both log probabilities ``[N,L]``."""
    return kl_div(said, wanted, reduction="batchmean", log_target=True)


def sample_ids(batch: Sequence[Tensor]) -> Tensor:
    """Ids int64 ``[N]`` of a batch; places in it where it has none."""
    return batch[2] if len(batch) > 2 else torch.arange(len(batch[1]), device=batch[1].device)


_ASKED: WeakKeyDictionary[Task, Oracle] = WeakKeyDictionary()


def asked(task: Task) -> Oracle:
    """The network of a training as attacks ask it; what they find out about it once holds for all batches."""
    oracle = _ASKED.get(task)
    if oracle is None or oracle.model is not task.network:
        _ASKED[task] = oracle = Oracle(task.network, "the network that is trained")
    return oracle


def attacked(
    attack: Attack,
    network: Model,
    batch: Sequence[Tensor],
    eps: float,
    seed: int,
    early: bool = False,
) -> Tensor:
    """Adversarial images ``[N,C,H,W]`` of a batch, crafted in eval mode; modes and parameters are as before after it.

    Args:
        attack: The attack.
        network: What it attacks: a module, or what :func:`asked` gives.
        batch: Images in [0,1], labels, and perhaps sample ids, by which draws are keyed.
        eps: Size in [0,1] pixel units.
        seed: Seed of the draws.
        early: The first images that fool the network are enough.
    """
    images, labels, ids = batch[0], batch[1], sample_ids(batch)
    found = attack(network, images, labels, [eps], sample_id=ids, seed=seed, early=early, strict=False)
    return found[0].to(images.dtype)


def robust_accuracies(task: Task) -> list[float]:
    """Accuracy under attack on held-out training images after each epoch so far."""
    return [epoch["val_score"] for epoch in task.history if "val_score" in epoch]


@dataclass(frozen=True)
class Adversarial(Defense):
    """Base of adversarial training in the norm ``linf``; a subclass says with which loss.

    The epoch is chosen by accuracy under PGD on held-out training images, with the same draws in every epoch.

    Attributes:
        eps: Size of the changes in [0,1] pixel units, at most 1; 0: the middle one of the bench (the lower of two).
    """

    TERMS: ClassVar[Terms] = {NIST: "mitigation, adversarial training", ATLAS: "AML.M0003"}

    eps: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.eps <= 1:
            raise ConfigError(f"eps of {self._title} must be above 0 and at most 1 (write 8/255, not 8), or 0 for the "
                              f"bench's, got {self.eps:g}.")  # fmt: skip

    @property
    def _title(self) -> str:
        return f"defense {self.component.name!r}"

    def taken(self, eps: Sequence[float]) -> float:
        """The size of a bench that stands for eps 0, of all its sizes, ascending."""
        return eps[(len(eps) - 1) // 2]

    @override
    def suited(self, eps: Sequence[float], space: str) -> Self:
        if not eps:
            if self.eps:
                return self
            raise ConfigError(f"{self._title} takes its eps from the attacks of the bench, and none has one in the "
                              "norm linf: give the defense an eps, such as 8/255.")  # fmt: skip
        if self.eps and not eps[0] - SLACK <= self.eps <= eps[-1] + SLACK:
            raise ConfigError(
                f"{self._title} trains at eps {eps_text(self.eps)}, and the bench attacks at {eps_text(eps[0])} to "
                f"{eps_text(eps[-1])}: take one of these, or add it to eps."
            )
        return replace(self, eps=self.eps or self.taken(eps))

    @override
    def check(self, task: Task, samples: int, options: Mapping[str, Scalar]) -> None:
        if not self.eps:
            raise ConfigError(f"{self._title} has no eps outside a bench: give it one, such as 8/255.")
        if task.recipe.select == "test":
            raise ConfigError(
                f"{self._title} needs recipe.select=best or last, got 'test': accuracy under attack is never looked at "
                "on test images to choose the epoch."
            )

    def drawn(self, task: Task) -> int:
        """Seed of the draws of an epoch, other in any other training."""
        return derive("attack", task.defense_seed, task.current_epoch)

    @override
    def score(self, task: Task, batch: Sequence[Tensor]) -> Tensor | None:
        return None if task.recipe.select == "last" else self.withstood(task, batch)

    def withstood(self, task: Task, batch: Sequence[Tensor]) -> Tensor:
        """Which images are still right under PGD, bool ``[N]``."""
        changed = attacked(pgd(), asked(task), batch, self.eps, derive("score", task.defense_seed), early=True)
        with torch.no_grad():
            return predicted(task.network(changed)) == batch[1]

    @override
    def remark(self, task: Task) -> str:
        scores = robust_accuracies(task)
        kept = scores[-1:] if task.recipe.select == "last" else [max(scores, default=0.0)]
        return f"under attack {kept[0]:.1%}" if scores else ""

    @override
    def adaptive(self) -> tuple[Adaptive, ...]:
        return GRADIENT, MASKED, INHERITED
