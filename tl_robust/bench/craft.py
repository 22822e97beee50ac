"""What is done with trained models: craft groups, judgments and pictures of them, examinations; and their keys."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from tl_robust.attacks import Attack
from tl_robust.attacks import get as get_attack
from tl_robust.bench.lineage import Model, Training
from tl_robust.data.mapped import DomainInSpace
from tl_robust.registry import Component
from tl_robust.seeding import digest
from tl_robust.trust import CHECKS
from tl_robust.types import ImageSet

POOL = 256  # images that an attack may learn from
EXAMINED = 2000  # images that the trust checks choose theirs from
SHOWN = 6  # samples with pictures, each of another class
SHOWN_EPS = 4  # and the sizes they are shown at


@dataclass(frozen=True)
class CraftGroup:
    """Adversarial examples that are crafted once, for all eps and victims.

    Attributes:
        surrogate: The model that gradients come from.
        test: The domain whose test split is attacked.
        attack: Attack with settings.
        eps: Sizes in [0,1] pixel units, ascending.
        seed: Seed of the attack's random draws.
        white: The surrogate is the only victim, so an iterative attack may stop where it is fooled.
        fast: Fast modes that are tried.
    """

    surrogate: Model
    test: DomainInSpace
    attack: Component
    eps: tuple[float, ...]
    seed: int
    white: bool = False
    fast: tuple[str, ...] = ()

    @cached_property
    def built(self) -> Attack:
        """The attack."""
        return get_attack(self.attack.name, **dict(self.attack.settings))

    @property
    def early(self) -> bool:
        """Whether crafting stops for a sample where the surrogate is fooled; one-step attacks have no such mode."""
        return self.white and self.built.ITERATES

    def pool(self) -> ImageSet | None:
        """Training images of the attacked domain, evenly spaced, for attacks that learn from some."""
        return _spread(self.test.images("train"), POOL) if self.built.needs_pool else None

    @cached_property
    def same_labels(self) -> bool:
        """Whether the surrogate names classes as the test set does; else its own predictions stand for labels."""
        return self.surrogate.labels == self.test.labels

    @cached_property
    def spec(self) -> dict[str, Any]:
        """What the key is the digest of."""
        pool = self.pool()
        return {
            "kind": "craft group",
            "early": self.early,
            "fast": list(self.fast),
            "pool": pool.fingerprint if pool else None,
            "same_labels": self.same_labels,
            "surrogate": self.surrogate.key,
            "images": self.test.images("test").fingerprint,
            "attack": asdict(self.attack),
            "eps": list(self.eps),
            "seed": self.seed,
        }

    @cached_property
    def key(self) -> str:
        """SHA-256 of the spec."""
        return digest(self.spec)

    def __str__(self) -> str:
        return f"{self.attack} on {self.surrogate} against {self.test.domain}"


@dataclass(frozen=True)
class Examinee:
    """A model that the trust checks examine on a test set, once for all attacks of a norm and eps grid.

    Attributes:
        model: The model.
        test: The domain whose test split is used.
        norm: Norm.
        eps: Sizes in [0,1] pixel units, ascending.
        seed: Seed of the choice of samples and of the probing attacks.
    """

    model: Model
    test: DomainInSpace
    norm: str
    eps: tuple[float, ...]
    seed: int

    @cached_property
    def same_labels(self) -> bool:
        """Whether the model names classes as the test set does."""
        return self.model.labels == self.test.labels

    def images(self) -> tuple[ImageSet, Tensor]:
        """Test images, evenly spaced, that the checks choose from, and their places int64 ``[N]``."""
        whole = self.test.images("test")
        place = _places(len(whole), EXAMINED)
        return whole.take(place), place

    @cached_property
    def spec(self) -> dict[str, Any]:
        """What the key is the digest of."""
        return {
            "kind": "examination",
            "same_labels": self.same_labels,
            "model": self.model.key,
            "images": self.test.images("test").fingerprint,
            "norm": self.norm,
            "eps": list(self.eps),
            "seed": self.seed,
            "probes": [name for name in CHECKS.names() if CHECKS[name].probe],
        }

    @cached_property
    def key(self) -> str:
        """SHA-256 of the spec."""
        return digest(self.spec)

    def __str__(self) -> str:
        return f"{self.model} on {self.test.domain}, {self.norm}"


@dataclass(frozen=True)
class Judgment:
    """One victim judged in a craft group: what an outcome is stored under."""

    group: CraftGroup
    victim: Training

    @cached_property
    def spec(self) -> dict[str, Any]:
        """What the key is the digest of."""
        return {"kind": "outcome", "group": self.group.spec, "victim": self.victim.key}

    @cached_property
    def key(self) -> str:
        """SHA-256 of the spec."""
        return digest(self.spec)


@dataclass(frozen=True)
class PictureGroup:
    """A few samples of a craft group, crafted again to be looked at: the store keeps classes, not images.

    Attributes:
        judgments: Those of the group that a bench shows.
    """

    judgments: tuple[Judgment, ...]

    @property
    def group(self) -> CraftGroup:
        """The craft group."""
        return self.judgments[0].group

    @cached_property
    def sample_id(self) -> Tensor:
        """The first sample of each of the first classes, int64 ``[M]``."""
        labels = self.group.test.images("test").labels
        return torch.stack([(labels == label).nonzero()[0, 0] for label in labels.unique()[:SHOWN]])

    def images(self) -> ImageSet:
        """The samples."""
        return self.group.test.images("test").take(self.sample_id)

    @cached_property
    def places(self) -> list[int]:
        """Places in the group's eps, above 0, evenly spaced to the largest."""
        above = [place for place, eps in enumerate(self.group.eps) if eps > 0]
        chosen = torch.linspace(0, len(above) - 1, min(len(above), SHOWN_EPS)).round().long()
        return [above[place] for place in chosen.tolist()]

    @cached_property
    def spec(self) -> dict[str, Any]:
        """What the key is the digest of."""
        shown = {"samples": self.sample_id.tolist(), "places": self.places}
        return {"kind": "pictures", "group": self.group.spec, **shown}

    @cached_property
    def key(self) -> str:
        """SHA-256 of the spec."""
        return digest(self.spec)

    def __str__(self) -> str:
        return str(self.group)


def _places(count: int, wanted: int) -> Tensor:
    return torch.arange(count)[:: max(1, count // wanted)][:wanted]


def _spread(images: ImageSet, wanted: int) -> ImageSet:
    return images.take(_places(len(images), wanted))
