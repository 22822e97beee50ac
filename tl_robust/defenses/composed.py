"""Several defenses on one victim: ``distill + mahalanobis``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer
from typing_extensions import override

from tl_robust.defenses.adaptive import VIEWS, Adaptive
from tl_robust.defenses.base import DEFENSES, TRAINING, Defense, Lineage, Loader, M, Task, Trainings
from tl_robust.errors import ConfigError
from tl_robust.registry import Component, Scalar
from tl_robust.seeding import derive
from tl_robust.types import ImageSet


@dataclass(frozen=True)
class Composed(Defense):
    """Defenses that act one after the other: those that change the training first, then guards from the inside out.

    Attributes:
        defenses: At least two.

    Raises:
        ConfigError: Two set the loss of the same training, or one that changes the training stands behind a guard.
    """

    defenses: tuple[Defense, ...] = ()

    def __post_init__(self) -> None:
        setting = [defense for defense in self.defenses if "loss" in defense.acts and not defense.REPAIRS]
        if len(setting) > len({defense.role for defense in setting}):
            both = " and ".join(map(str, setting))
            raise ConfigError(f"only one defense can set the loss, got {both}: leave one of them out.")
        stepping = [defense for defense in self.defenses if defense.acts & {"optimizer", "sampling"}]
        if len(stepping) > 1:
            both = " and ".join(map(str, stepping))
            raise ConfigError(f"only one defense can set the optimizer, got {both}: leave one of them out.")
        others = [each for each in self.defenses if each not in stepping and each.acts & set(TRAINING)]
        if stepping and others:
            raise ConfigError(
                f"{others[0]} looks at training images outside the account of {stepping[0]}: leave one of them out."
            )
        trains = [bool(defense.acts & set(TRAINING)) for defense in self.defenses]
        if trains != sorted(trains, reverse=True):
            late = self.defenses[len(trains) - 1 - trains[::-1].index(True)]
            raise ConfigError(
                f"defense {str(late)!r} changes the training, which comes first: write it before those that guard the "
                f"trained network, got {str(self)!r}."
            )

    @override
    def suited(self, eps: Sequence[float], space: str) -> Defense:
        return replace(self, defenses=tuple(defense.suited(eps, space) for defense in self.defenses))

    @override
    def remark(self, task: Task) -> str:
        return ", ".join(filter(None, (defense.remark(task) for defense in self.defenses)))

    @override
    def lineage(self, train: Trainings[M], a: M, b: M) -> Lineage[M]:
        private: tuple[M, ...] = ()
        for defense in self.defenses:
            lineage = defense.lineage(train, a, b)
            a, b, private = lineage.public, lineage.victim, private + lineage.private
        return Lineage(a, b, private)

    @override
    def initialize(self, task: Task, parent: Mapping[str, Tensor] | None, validation: ImageSet | None) -> None:
        for defense in self.defenses:
            defense.initialize(task, parent, validation)

    @override
    def loss(self, task: Task, batch: Sequence[Tensor], others: Mapping[str, nn.Module]) -> Tensor:
        setting = next((defense for defense in self.defenses if "loss" in defense.acts), self.defenses[0])
        return setting.loss(task, batch, others)

    @override
    def score(self, task: Task, batch: Sequence[Tensor]) -> Tensor | None:
        scores = (defense.score(task, batch) for defense in self.defenses)
        return next((score for score in scores if score is not None), None)

    @override
    def images(self, images: ImageSet, others: Mapping[str, nn.Module]) -> ImageSet:
        for defense in self.defenses:
            images = defense.images(images, others)
        return images

    @override
    def check(self, task: Task, samples: int, options: Mapping[str, Scalar]) -> None:
        for defense in self.defenses:
            defense.check(task, samples, options)

    @override
    def optimizer(self, task: Task, optimizer: Optimizer, batches: Loader, seed: int) -> Optimizer:
        for defense in self.defenses:
            optimizer = defense.optimizer(task, optimizer, batches, seed)
        return optimizer

    @override
    def account(self, epochs: int, samples: int) -> dict[str, Any]:
        return next((kept for defense in self.defenses if (kept := defense.account(epochs, samples))), {})

    @property
    @override
    def sampling(self) -> float:
        return max(defense.sampling for defense in self.defenses)

    @property
    @override
    def privacy(self) -> tuple[float, float] | None:
        return next((defense.privacy for defense in self.defenses if defense.privacy), None)

    @override
    def fit(self, network: nn.Module, validation: ImageSet, seed: int) -> dict[str, Tensor]:
        fitted: dict[str, Tensor] = {}
        for place, defense in enumerate(self.defenses):  # each is fitted on the network with the guards inside it
            own = defense.fit(network, validation, derive(seed, place))
            fitted |= {f"{place}.{name}": tensor for name, tensor in own.items()}
            network = defense.wrap(network, own)
        return fitted

    @override
    def wrap(self, network: nn.Module, fitted: Mapping[str, Tensor]) -> nn.Module:
        for place, defense in enumerate(self.defenses):
            own = {name.partition(".")[2]: tensor for name, tensor in fitted.items() if name.startswith(f"{place}.")}
            network = defense.wrap(network, own)
        return network

    @property
    def parts(self) -> tuple[Defense, ...]:
        """The defenses in their order."""
        return self.defenses

    @property
    def acts(self) -> frozenset[str]:
        """The names of the places where one of them acts."""
        return frozenset[str]().union(*(defense.acts for defense in self.defenses))

    @override
    def adaptive(self) -> tuple[Adaptive, ...]:
        attacks = [attack for defense in self.defenses for attack in defense.adaptive()]
        for view in VIEWS:
            choices = [[a for a in defense.against(view) if a.exists] for defense in self.defenses]
            attacks += [joint for chosen in product(*choices) if (joint := _joined(view, chosen))]
        different: dict[Adaptive, Adaptive] = {}
        for attack in attacks:
            different.setdefault(replace(attack, why="."), attack)
        return tuple(different.values())


def _joined(view: str, attacks: Sequence[Adaptive]) -> Adaptive | None:
    """One attack that does what several do; None where they want different things."""
    names = ("through", "objective", "tricks", "attack")
    wanted = {name: {getattr(attack, name) for attack in attacks} - {"exact", ""} for name in names}
    if any(len(values) > 1 for values in wanted.values()):
        return None
    settings = {name: values.pop() for name, values in wanted.items() if values}
    return Adaptive(" ".join(dict.fromkeys(attack.why for attack in attacks)), view=view, **settings)


def compose(defenses: Sequence[Defense]) -> Defense | None:
    """Several defenses as one; one is itself, and none is None."""
    return Composed(tuple(defenses)) if len(defenses) > 1 else next(iter(defenses), None)


def build(components: Sequence[Component]) -> Defense:
    """The defense of these parts, at least one, from the inside out."""
    defense = compose([DEFENSES[part.name](**dict(part.settings)) for part in components])
    assert defense
    return defense


def parse(text: str) -> Defense | None:
    """The defense that a bench file or a table names, such as ``squeeze(bits=3)``; None for ``none``.

    Raises:
        UnknownNameError: No such defense or setting; the message shows the closest.
        ConfigError: A setting out of its range, or defenses that do not go together.
    """
    return None if text.strip() == "none" else compose([DEFENSES.parse(name) for name in text.split("+")])
