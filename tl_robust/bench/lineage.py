"""The forest of trainings and their keys.

A key is the SHA-256 of everything that can change what is stored under it. The name of a cell's strategy is not in it:
CommonInit's models are FineTune models of another edge.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from tl_robust.bench.spec import Checkpoint
from tl_robust.data.mapped import DomainInSpace
from tl_robust.data.names import Names
from tl_robust.data.space import get_space
from tl_robust.errors import ConfigError
from tl_robust.models.checkpoint import checkpoint_digest
from tl_robust.registry import Component, Scalar
from tl_robust.seeding import digest
from tl_robust.strategies import trained_by
from tl_robust.types import Recipe


@dataclass(frozen=True)
class Public:
    """A root of the forest that others trained; its weights are copied into the store.

    Attributes:
        checkpoint: Where it comes from.
        space: Space of the images it is given.
    """

    checkpoint: Checkpoint
    space: Component

    @property
    def network(self) -> Component:
        """Network with settings."""
        return self.checkpoint.network

    @property
    def parent(self) -> Model | None:
        """None."""
        return None

    @property
    def title(self) -> str:
        """As tables name it."""
        return self.checkpoint.title

    @property
    def labels(self) -> Names:
        """Names of its classes, in label order."""
        return self.checkpoint.classes

    @property
    def effort(self) -> int:
        """Epochs, for progress."""
        return 1

    @cached_property
    def spec(self) -> dict[str, Any]:
        """What the key is the digest of."""
        renamed = {} if self.checkpoint.rename is None else {"rename": dict(self.checkpoint.rename)}
        return renamed | {
            "kind": "checkpoint",
            "content": checkpoint_digest(self.checkpoint.where, self.checkpoint.root),
            "network": asdict(self.network),
            "image_shape": list(get_space(self.space).image_shape),
            "labels": len(self.labels),
        }

    @cached_property
    def key(self) -> str:
        """SHA-256 of the spec."""
        return digest(self.spec)

    def origin(self) -> dict[str, Any]:
        """Where it comes from, for a reader."""
        return {"key": self.key, "domain": self.title, "by": self.checkpoint.where, "parent": None}

    def __str__(self) -> str:
        return self.title


@dataclass(frozen=True)
class Training:
    """One node of the forest.

    Attributes:
        data: Domain in a space; its training split is learned from.
        network: Network with settings.
        recipe: Optimizer, schedule and choice of the epoch.
        seed: Seed of weights, order and dropout.
        by: The strategy whose hooks train it, with settings.
        parent: The node it starts from, None at a root.
        trainer: Options of the Lightning Trainer that can change weights.
        salt: Tells apart what is drawn again.
    """

    data: DomainInSpace
    network: Component
    recipe: Recipe
    seed: int
    by: Component
    parent: Model | None = None
    trainer: tuple[tuple[str, Scalar], ...] = ()
    salt: str = ""

    @property
    def space(self) -> Component:
        """Space with settings."""
        return self.data.space

    @property
    def title(self) -> str:
        """What it learned, as tables name it."""
        return self.data.domain

    @property
    def labels(self) -> Names:
        """Names of its classes, in label order."""
        return self.data.labels

    @property
    def effort(self) -> int:
        """Epochs, for progress."""
        return self.recipe.epochs

    @cached_property
    def same_labels(self) -> bool:
        """Whether its parent names classes as it does, so that the classifier can be copied."""
        return self.parent is None or self.parent.labels == self.labels

    @cached_property
    def spec(self) -> dict[str, Any]:
        """What the key is the digest of."""
        by_test = {"test_images": self.data.images("test").fingerprint} if self.recipe.select == "test" else {}
        again = {"salt": self.salt} if self.salt else {}
        return (
            by_test
            | again
            | {
                "kind": "training",
                "domain": self.data.domain,
                "labels": len(self.labels),
                "images": self.data.images("train").fingerprint,
                "network": asdict(self.network),
                "recipe": asdict(self.recipe),
                "seed": self.seed,
                "by": asdict(self.by),
                "parent": self.parent.key if self.parent else None,
                "same_labels": self.same_labels,
                "trainer": dict(self.trainer),
            }
        )

    @cached_property
    def key(self) -> str:
        """SHA-256 of the spec."""
        return digest(self.spec)

    def origin(self) -> dict[str, Any]:
        """Where it comes from, for a reader."""
        return {
            "key": self.key,
            "domain": self.data.domain,
            "space": str(self.data.space),
            "images": len(self.data.images("train")),
            "share": self.data.share,
            "epochs": self.recipe.epochs,
            "by": str(self.by),
            "seed": self.seed,
            "parent": self.parent.origin() if self.parent else None,
        }

    def __str__(self) -> str:
        text, start = f"{self.by} {self.data.domain}", self.parent
        if self.data.share != 1:
            text += f" ({len(self.data.images('train'))} images)"
        while start:
            text, start = f"{text} from {start.title}", start.parent
        return f"{text}, seed {self.seed}"


Model = Public | Training


class Forest:
    """Names trainings of one network, seed, strategy and set of Trainer options; the ``train`` of a lineage.

    Args:
        network: Network with settings.
        recipe: Recipe of a domain by its name.
        seed: Seed.
        own: The cell's strategy with settings.
        trainer: Options of the Lightning Trainer that can change weights.
    """

    def __init__(
        self,
        network: Component,
        recipe: Callable[[str], Recipe],
        seed: int,
        own: Component,
        trainer: Mapping[str, Scalar] | None = None,
    ) -> None:
        self._network = network
        self._recipe = recipe
        self._seed = seed
        self.own = own
        self._trainer = tuple(sorted((trainer or {}).items()))

    def __call__(
        self,
        domain: DomainInSpace | Public,
        parent: Model | None = None,
        by: str | Component | None = None,
        defense: Component | None = None,
        salt: str = "",
    ) -> Model:
        """The training of ``domain`` from ``parent``; a public checkpoint is the model itself.

        Raises:
            ConfigError: The strategy would train a checkpoint, or trains with a defense.
        """
        if isinstance(domain, Public):
            if parent is not None:
                raise ConfigError(
                    f"{domain} is trained already, and this strategy would train it again from {parent.title}: "
                    "use it as the source of scratch or finetune, or under axes.common."
                )
            if isinstance(by, Component) or salt:
                raise ConfigError(
                    f"{domain} is trained already, and strategy {self.own} would train it in its own way."
                )
            return domain
        if defense is not None:
            raise ConfigError(f"strategy {self.own} trains with defense {defense}, which no bench can do yet.")
        component = trained_by(self.own, by, root=parent is None)
        recipe = self._recipe(domain.domain)
        return Training(domain, self._network, recipe, self._seed, component, parent, self._trainer, salt)
