"""What a defense is: the places where it acts, and the attacker who has read its file.

Axes: N samples.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Generic, Literal, Protocol, Self, TypeVar

from torch import Tensor, nn
from torch.optim import Optimizer

from tl_robust.attacks import ATTACKS
from tl_robust.attacks.objectives import OBJECTIVES
from tl_robust.attacks.through import THROUGH
from tl_robust.attacks.tricks import parse_tricks
from tl_robust.errors import ConfigError
from tl_robust.registry import Component, Registry, Scalar
from tl_robust.types import ImageSet, Recipe

TRAINING = ("lineage", "initialize", "loss", "score", "images", "optimizer", "sampling")
INFERENCE = ("fit", "wrap")
VIEWS = ("white", "black", "shadow")


class Task(Protocol):
    """A training as a defense sees it; every strategy is one.

    Attributes:
        network: What is trained.
        recipe: Its recipe.
        current_epoch: From 0.
        global_step: Steps that are taken.
        steady: The same modules are frozen in every epoch.
    """

    network: nn.Module
    recipe: Recipe

    @property
    def current_epoch(self) -> int: ...  # noqa: D102

    def __call__(self, images: Tensor) -> Tensor: ...  # noqa: D102
    @property
    def global_step(self) -> int: ...  # noqa: D102
    @property
    def steady(self) -> bool: ...  # noqa: D102

    def objective(self, batch: Sequence[Tensor]) -> Tensor: ...  # noqa: D102


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
    """A model of the forest as a defense sees it, which can be trained again in two ways."""

    def at(self, epoch: int) -> Self:
        """What it was after an epoch of its last training; 0: what that training starts from."""

    def further(self, epochs: int, defense: Component | None = None) -> Self:
        """What it becomes when its last training goes on for so many epochs, with a defense."""

    def taught(self, defense: Component, epochs: int = 0, fresh: bool = True) -> Self:
        """A model that learns from it, its ``teacher``, what it has learned last, with a defense.

        Args:
            defense: Joins in that training.
            epochs: Epochs of that training; 0: as many as the teacher's.
            fresh: It starts from random weights, else from what the teacher started from.
        """


M = TypeVar("M", bound=Repairable)


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


@dataclass(frozen=True)
class Adaptive:
    """An attack by someone who knows the defense; it is run beside the plain attack, and the worst case counts.

    In the views black and shadow the attacker crafts on a model of his own with the same guard around it.

    Attributes:
        why: What it does about the defense, and whose idea it is, in one sentence; it is printed.
        through: What gradients are taken of, a name of ``attacks/through``.
        view: ``white``, ``black`` (from A) or ``shadow`` (from a model for which the attacker repeats strategy and
            defense, with a seed of his own); empty for every view.
        objective: What is maximized instead of the attack's own objective.
        tricks: Gradient tricks before the attack's own.
        backdoor: Settings of the backdoor that an attacker who poisons changes, such as ``labels=clean``, or another
            one with settings: ``blend(alpha=0.1)``; empty where the attack is one of evasion.
        exists: False where no such attack is known: then no number of the defense is to be believed.
    """

    why: str
    through: str = "exact"
    view: str = ""
    objective: str = ""
    tricks: str = ""
    backdoor: str = ""
    exists: bool = True

    def __post_init__(self) -> None:
        if not self.why.strip() or self.view not in ("", *VIEWS):
            raise ConfigError(
                f"an adaptive attack needs a sentence that says why, and view {', '.join(VIEWS)} or none, got "
                f"{self.why!r} and {self.view!r}."
            )
        THROUGH.parse(self.through)
        parse_tricks(self.tricks)
        if self.objective:
            OBJECTIVES.parse(self.objective)

    @classmethod
    def none(cls, why: str, view: str = "") -> Adaptive:
        """Nobody has written an attack on this defense, for the reason ``why``; every number of it will be red."""
        return cls(why, view=view, exists=False)

    def made_of(self, attack: Component) -> Component:
        """The plain attack with this objective and these tricks, as far as it has such settings."""
        kind, settings = ATTACKS[attack.name], dict(attack.settings)
        own = {item.name: item.default for item in fields(kind)} | settings
        if self.tricks and "tricks" in own:
            settings["tricks"] = " + ".join(filter(None, (self.tricks, str(own["tricks"]))))
        if self.objective:
            try:
                kind(**(settings | {"objective": self.objective}))  # type: ignore[arg-type]
            except ConfigError:  # such as square: it compares margins and nothing else
                return ATTACKS.component(attack.name, settings)
            settings["objective"] = self.objective
        return ATTACKS.component(attack.name, settings)


@dataclass(frozen=True)
class Defense(ABC):
    """Base of all defenses. The fields of a subclass are its settings; it overrides the places where it acts.

    Attributes:
        ON: Whose training it changes: the victim's or the origin's. The guard stands around the victim.
        ASKS: Models that are made before the training that it joins in, and are given to :meth:`loss` and
            :meth:`images`: ``undefended``, the same training without any defense; ``undefended@1``, the same after one
            epoch; ``parent``, what it starts from, where it has the same classes.
        REPAIRS: It joins in none of the strategy's trainings, but in one after them that :meth:`lineage` names.
        CLEAN: It needs clean images of the domain whose training it changes, so that none of them may be poisoned.
        NEUTRAL: Settings with which a guard leaves the network as it is: there its adaptive attacks are tested against
            an optimum that is known.
    """

    VERSION: ClassVar[int] = 1
    ASKS: ClassVar[tuple[str, ...]] = ()
    REPAIRS: ClassVar[bool] = False
    CLEAN: ClassVar[bool] = False
    NEUTRAL: ClassVar[Mapping[str, Scalar]]
    ON: ClassVar[Literal["victim", "origin"]] = "victim"

    @abstractmethod
    def adaptive(self) -> tuple[Adaptive, ...]:
        """The attacks of someone who has read this file: for each view at least one, or :meth:`Adaptive.none`."""

    def lineage(self, train: Callable[..., M], a: M, b: M) -> Lineage[M]:
        """The models there are, where the strategy trains B from A; ``train`` names further trainings."""
        return Lineage(a, b)

    def initialize(  # noqa: B027  (most do nothing)
        self, task: Task, parent: Mapping[str, Tensor] | None, validation: ImageSet | None
    ) -> None:
        """Change the weights that training starts from, after the strategy has set them.

        Args:
            task: The training.
            parent: State dict of the parent's network, None at a root.
            validation: Clean images held out of the training; None where it is begun without a bench.
        """

    def loss(self, task: Task, batch: Sequence[Tensor], others: Mapping[str, nn.Module]) -> Tensor:
        """The loss of a batch of images and labels: here the strategy's own.

        Args:
            task: The training.
            batch: Images ``[N,C,H,W]`` in [0,1], labels ``[N]``, and what else the data give.
            others: Frozen networks of the models that :meth:`lineage` named for this training.
        """
        return task.objective(batch)

    def score(self, task: Task, batch: Sequence[Tensor]) -> Tensor | None:
        """What chooses the epoch: for each sample ``[N]`` how well it does, from 0 to 1; None for its accuracy."""
        return None

    def images(self, images: ImageSet, others: Mapping[str, nn.Module]) -> ImageSet:
        """The training images that are left of ``images``.

        Args:
            images: What would be learned from.
            others: Frozen networks of the models that :attr:`ASKS` and :meth:`lineage` named for this training.
        """
        return images

    def check(  # noqa: B027  (most go with everything)
        self, task: Task, samples: int, options: Mapping[str, Scalar]
    ) -> None:
        """Check whether it can join in a training; it is asked when a bench is planned, before anything is computed.

        Args:
            task: The training; what is frozen in its first epoch is, and its weights have shapes and no values.
            samples: How many samples it learns from.
            options: Options of the Lightning Trainer that a bench sets.

        Raises:
            ConfigError: It cannot.
        """

    def optimizer(self, task: Task, optimizer: Optimizer, batches: Loader, seed: int) -> Optimizer:
        """What takes the steps of the training; it is asked when training starts, before the first of them.

        Args:
            task: The training; its network has its start, and what is frozen is.
            optimizer: The recipe's, whose schedule goes on.
            batches: What it learns from.
            seed: Of draws: the same in a fit that goes on, other in any other training.
        """
        return optimizer

    def account(self, epochs: int, samples: int) -> dict[str, Any]:
        """What a claim of privacy rests on in a training of so many epochs on so many samples, in the form of JSON.

        Empty where it keeps no account.
        """
        return {}

    @property
    def sampling(self) -> float:
        """The chance of each training sample to be in a batch, independently of others; 0: the recipe's batches."""
        return 0.0

    def fit(self, network: nn.Module, validation: ImageSet, seed: int) -> dict[str, Tensor]:
        """What the guard is fitted with: thresholds, means, and everything it draws at random.

        Args:
            network: The trained victim.
            validation: Clean images held out of its training; no attacked image is ever among them.
            seed: Keyed by the victim and never by an attack.
        """
        return {}

    def wrap(self, network: nn.Module, fitted: Mapping[str, Tensor]) -> nn.Module:
        """The network with a guard around it, made of what :meth:`fit` returned."""
        return network

    @property
    def role(self) -> str:
        """Whose training it changes, ``victim`` or ``origin``: :attr:`ON`, where no setting says otherwise."""
        return self.ON

    @property
    def asks(self) -> tuple[str, ...]:
        """The models that it asks: :attr:`ASKS`, where no setting says otherwise."""
        return self.ASKS

    @property
    def privacy(self) -> tuple[float, float] | None:
        """Epsilon and delta of differential privacy that it claims for the images of the training that it changes."""
        return None

    @property
    def parts(self) -> tuple[Defense, ...]:
        """The defenses that it is composed of: itself."""
        return (self,)

    @property
    def acts(self) -> frozenset[str]:
        """The names of the places where it acts."""
        return frozenset(
            place for place in (*TRAINING, *INFERENCE) if getattr(type(self), place) is not getattr(Defense, place)
        )

    @property
    def component(self) -> Component:
        """Its registered name, version and settings."""
        name = type(self).__module__.rpartition(".")[2]
        return DEFENSES.component(name, {item.name: getattr(self, item.name) for item in fields(self)})

    def __str__(self) -> str:
        """As it stands in a bench file and in tables; :func:`parse` reads it."""
        return " + ".join(str(defense.component) for defense in self.parts)

    def against(self, view: str) -> tuple[Adaptive, ...]:
        """The adaptive attacks of a view."""
        return tuple(attack for attack in self.adaptive() if attack.view in ("", view) and not attack.backdoor)

    def untried(self, view: str) -> str:
        """Why no attack of a view knows the whole defense; empty where one does."""
        attacks = self.against(view)
        return " ".join(attack.why for attack in attacks if not attack.exists) if attacks else "It declares none."


DEFENSES: Registry[type[Defense]] = Registry("defense", "tl_robust.defenses")
