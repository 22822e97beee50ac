"""Trainings, their batches and the models of a forest, as a defense sees them.

Axes: N samples.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from typing import Any, Generic, Protocol, Self, TypeVar

from torch import Tensor, nn

from tl_robust.errors import ConfigError
from tl_robust.registry import Component
from tl_robust.types import Recipe


class Task(Protocol):
    """A training as a defense sees it; every strategy is one.

    Attributes:
        network: What is trained.
        recipe: Its recipe.
        current_epoch: From 0.
        defense_seed: Seed of what a defense draws: the same in a fit that goes on, other in any other training.
        global_step: Steps that are taken.
        steady: The same modules are frozen in every epoch.
        history: Of each epoch that is over ``val_accuracy``, ``val_loss`` and, where a defense scores, ``val_score``.
    """

    network: nn.Module
    recipe: Recipe
    history: list[dict[str, float]]
    defense_seed: int

    @property
    def current_epoch(self) -> int: ...  # noqa: D102

    def __call__(self, images: Tensor) -> Tensor: ...  # noqa: D102
    @property
    def global_step(self) -> int: ...  # noqa: D102
    @property
    def steady(self) -> bool: ...  # noqa: D102

    def frozen(self, epoch: int) -> Iterable[nn.Module]: ...  # noqa: D102
    def objective(self, batch: Sequence[Tensor]) -> Tensor: ...  # noqa: D102
    def cross_entropy(self, images: Tensor, labels: Tensor) -> Tensor: ...  # noqa: D102


class Loader(Protocol):
    """Training batches as a defense sees them.

    Attributes:
        sampling: With what chance each sample is in a batch, independently of all others; 0: batches of one size.
        samples: How many samples there are.
    """

    @property
    def sampling(self) -> float: ...  # noqa: D102
    @property
    def samples(self) -> int: ...  # noqa: D102
    def __len__(self) -> int: ...


class Repairable(Protocol):
    """A model of the forest as a defense sees it, which can be trained again in several ways."""

    @property
    def parent(self) -> Self | None:
        """What it starts from; None where that is random weights."""

    @property
    def age(self) -> int:
        """Epochs of its last training."""

    def again(self, salt: str) -> Self:
        """The same training with random numbers of its own."""

    def anew(self) -> Self:
        """The same training from random weights."""

    def at(self, epoch: int) -> Self:
        """What it was after an epoch of its last training; 0: what that training starts from."""

    def further(self, epochs: int, defense: Component | None = None) -> Self:
        """What it becomes when its last training goes on for so many epochs (0: as many again), with a defense."""

    def taught(self, defense: Component, epochs: int = 0, fresh: bool = True) -> Self:
        """A model that learns from it, its ``teacher``, what it has learned last, with a defense.

        Args:
            defense: Joins in that training.
            epochs: Epochs of that training; 0: as many as the teacher's.
            fresh: It starts from random weights, else from what the teacher started from.
        """

    def upon(self, old: Self, new: Self) -> Self:
        """The same with ``new`` in the place of ``old`` wherever its trainings start from that or ask it."""

    def defended(self, defense: Component) -> Self:
        """The same training with a further defense in it."""

    def asking(self, name: str, model: Self) -> Self:
        """The same training whose defense is given ``model``, too, by that name; it has the same classes."""


M = TypeVar("M", bound=Repairable)


class Trainings(Protocol[M]):
    """Names models; see :class:`tl_robust.nodes.forest.Forest`."""

    def __call__(self, *named: Any, **options: Any) -> M: ...  # noqa: D102

    def together(self, models: Sequence[M], fuse: str = "logits") -> M:
        """A model that gives the mean of the ``logits`` or of the ``probabilities`` of several, with equal weights."""

    def isolated(self, model: M) -> M:
        """The same model, where what it starts from is a further draw that no attacker has."""

    def soup(self, models: Sequence[M]) -> M:
        """A model with the mean weights of several, and BatchNorm statistics anew."""


@dataclass(frozen=True)
class Lineage(Generic[M]):
    """Which models there are.

    Attributes:
        public: What the attacker has, A.
        victim: What is attacked and judged, B.
        private: What exists beside them and is hidden from the attacker, such as a teacher.
    """

    public: M
    victim: M
    private: tuple[M, ...] = ()


def check_trained(defense: object, task: Task, modules: Set[nn.Module]) -> None:
    """Check that what a defense makes random is trained after that.

    Raises:
        ConfigError: The strategy trains none of these modules in any epoch.
    """
    if all(modules <= set(task.frozen(epoch)) for epoch in range(task.recipe.epochs)):
        raise ConfigError(f"{defense} makes blocks random that this strategy never trains: leave one of them out.")
