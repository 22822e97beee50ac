"""What a defense is: the places where it acts, and the attacker who has read its file.

Axes: N samples.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal

from torch import Tensor, nn
from torch.optim import Optimizer

from tl_robust.defenses.adaptive import Adaptive
from tl_robust.defenses.lineage import Lineage as Lineage
from tl_robust.defenses.lineage import Loader as Loader
from tl_robust.defenses.lineage import M as M
from tl_robust.defenses.lineage import Task as Task
from tl_robust.defenses.lineage import Trainings as Trainings
from tl_robust.registry import Component, Registry, Scalar
from tl_robust.types import ImageSet
from tl_robust.types.terms import ATLAS, NIST, Terms, joined

TRAINING = ("lineage", "initialize", "loss", "score", "images", "optimizer", "sampling")
INFERENCE = ("fit", "wrap")


@dataclass(frozen=True)
class Defense(ABC):
    """Base of all defenses. The fields of a subclass are its settings; it overrides the places where it acts.

    Attributes:
        ON: Whose training it changes: the victim's or the origin's. The guard stands around the victim.
        ASKS: Models that are made before the training that it joins in, and are given to :meth:`loss` and
            :meth:`images`: ``undefended``, the same training without any defense; ``undefended@1``, the same after one
            epoch; ``parent``, what it starts from, where it has the same classes; ``start``, that with any classes.
        REPAIRS: It joins in none of the strategy's trainings, but in one after them that :meth:`lineage` names.
        INHERITS: It changes what a parent hands on, so that there must be one.
        CLEAN: It needs clean images of the domain whose training it changes, so that none of them may be poisoned.
        FEATURES: Its guard looks at the features before the last layer, which the network must name.
        TERMS: What others call it, by who does; see :attr:`terms`.
        NEUTRAL: Settings with which a guard leaves the network as it is: there its adaptive attacks are tested against
            an optimum that is known.
    """

    VERSION: ClassVar[int] = 1
    TERMS: ClassVar[Terms] = {NIST: "mitigation", ATLAS: "AML.M0003"}
    ASKS: ClassVar[tuple[str, ...]] = ()
    REPAIRS: ClassVar[bool] = False
    INHERITS: ClassVar[bool] = False
    CLEAN: ClassVar[bool] = False
    FEATURES: ClassVar[bool] = False
    NEUTRAL: ClassVar[Mapping[str, Scalar]]
    ON: ClassVar[Literal["victim", "origin"]] = "victim"

    @abstractmethod
    def adaptive(self) -> tuple[Adaptive, ...]:
        """The attacks of someone who has read this file: for each view at least one, or :meth:`Adaptive.none`."""

    def suited(self, eps: Sequence[float], space: str) -> Defense:
        """The defense with what it leaves to the bench; it is asked when a bench is planned.

        Args:
            eps: All sizes above 0 that the bench attacks with in the norm ``linf``, ascending; perhaps none.
            space: Name of the space of the images.

        Raises:
            ConfigError: A setting does not go with them.
        """
        return self

    def remark(self, task: Task) -> str:
        """What is to be known about a training that is over, in a few words; empty where nothing is."""
        return ""

    def lineage(self, train: Trainings[M], a: M, b: M) -> Lineage[M]:
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

        Returns:
            Tensors by name, in shapes of the defense's choice; they are stored with the victim.
        """
        return {}

    def wrap(self, network: nn.Module, fitted: Mapping[str, Tensor]) -> nn.Module:
        """The network with a guard around it, made of what :meth:`fit` returned, shapes as it chose."""
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
    def terms(self) -> Terms:
        """What others call it and all that it is composed of."""
        return joined(*(defense.TERMS for defense in self.parts))

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
