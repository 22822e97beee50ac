"""Threats without an adversary in one class: B meets images that were corrupted by somebody who looks at no model.

A file of ``threats/``, or of a folder of plugins, that declares how an image is corrupted is a whole threat: record,
work, metrics, trust, charts, tables and dashboards are made of what stands here::

    @corruption(axis="density", untouched="clear air")
    @dataclass(frozen=True)
    class Fog(Corruption):
        def corrupt(self, images, strength, draws):
            return (1 - strength) * images + strength

A threat with more to keep of every image than a class, or with an attacker, derives from
:class:`~tl_robust.threats.base.Threat`.

Axes: K strengths, N images, C channels, H height, W width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor
from typing_extensions import override

from tl_robust.attacks.oracle import Oracle
from tl_robust.attacks.problem import attackable
from tl_robust.data.mapped import DomainInSpace
from tl_robust.errors import ConfigError
from tl_robust.nodes.hands import Hands
from tl_robust.nodes.kind import Address, Kind
from tl_robust.nodes.models import Model
from tl_robust.nodes.node import Made, Node
from tl_robust.nodes.payload import pack_record, unpack_record
from tl_robust.nodes.provenance import device_name
from tl_robust.nodes.store import Store
from tl_robust.registry import Component, Registry
from tl_robust.seeding import derive, normal, uniform
from tl_robust.threats.base import THREATS, Method, Play, Scene, Threat
from tl_robust.types import Corrupted, Face

VIEW = "nature"
BATCH = 500  # images that are corrupted at a time
CORRUPTED = Kind("corrupted", "corrupted.npz", "corruption", pack_record, partial(unpack_record, Corrupted))


@dataclass(frozen=True)
class Draws:
    """Random numbers for the images of one batch, keyed by seed, sample and name: batches and order change nothing.

    They do not depend on the strength, so that an image meets the same noise, only stronger.

    Attributes:
        seed: The cell's.
        sample_id: int64 ``[N]``.
        like: float32 ``[N,C,H,W]``, the images.
    """

    seed: int
    sample_id: Tensor
    like: Tensor

    def uniform(self, *name: int | str) -> Tensor:
        """Numbers in [0,1), float32 ``[N,C,H,W]``."""
        return uniform(derive(self.seed, *name), self.sample_id, self.like.shape[1:]).to(self.like)

    def normal(self, *name: int | str) -> Tensor:
        """Standard normal numbers, float32 ``[N,C,H,W]``."""
        return normal(derive(self.seed, *name), self.sample_id, self.like.shape[1:]).to(self.like)


class Corruption(ABC):
    """How images are corrupted: a frozen dataclass whose fields are settings of ``axes.attack``.

    Attributes:
        VERSION: Raised when its behavior changes, so that stored results are not mixed.
    """

    VERSION: ClassVar[int] = 1

    @abstractmethod
    def corrupt(self, images: Tensor, strength: float, draws: Draws) -> Tensor:
        """The corrupted images, which are clipped to [0,1].

        Args:
            images: float32 ``[N,C,H,W]`` in [0,1]; they stay as they are.
            strength: From the axis of the threat, 0 or more.
            draws: Random numbers, keyed by sample.
        """

    def corrupted(self, images: Tensor, strength: float, draws: Draws) -> Tensor:
        """What :meth:`corrupt` gives, checked and clipped, float32 ``[N,C,H,W]`` in [0,1].

        Raises:
            ConfigError: It gave other shapes or types, or numbers that are not finite, or changed its input.
        """
        before = images.clone()
        after = self.corrupt(images, strength, draws)
        who = f"{type(self).__name__}.corrupt at strength {strength:g}"
        if not torch.equal(images, before):
            raise ConfigError(f"{who} changed the images that it was given: begin with images.clone().")
        if after.shape != images.shape or after.dtype != images.dtype:
            expected = f"{images.dtype} {list(images.shape)}"
            raise ConfigError(f"{who} must give {expected}, as it was given, got {after.dtype} {list(after.shape)}.")
        if not bool(after.isfinite().all()):
            raise ConfigError(f"{who} gave numbers that are not finite.")
        return after.clamp(0, 1)


@dataclass(frozen=True)
class Corrupting(Node):
    """What a victim says of every test image, as it is and corrupted.

    Attributes:
        threat: Name of the threat that has the corruption.
        component: The corruption and its settings.
        test: The target domain.
        victim: The victim.
        strength: Strengths, rising.
        seed: Seed of the draws.
    """

    KIND = CORRUPTED
    threat: str
    component: Component
    test: DomainInSpace
    victim: Model
    strength: tuple[float, ...]
    seed: int

    @cached_property
    def spec(self) -> dict[str, Any]:
        """What the key is the digest of."""
        return {
            "kind": "corrupted",
            "threat": self.threat,
            "corruption": asdict(self.component),
            "images": self.test.images("test").fingerprint,
            "victim": self.victim.key,
            "strength": list(self.strength),
            "seed": self.seed,
        }

    @property
    @override
    def needs(self) -> tuple[Address, ...]:
        return self.victim.addresses

    @property
    @override
    def work(self) -> int:
        return len(self.test.images("test"))

    @override
    def make(self, hands: Hands, store: Store) -> tuple[Mapping[str, Corrupted], Made]:
        built: Corruption = THREATS[self.threat].METHODS[self.component.name](**dict(self.component.settings))
        split = self.test.images("test")
        said = []
        with hands.tester([]) as trainer, torch.no_grad():
            device = trainer.strategy.root_device
            model = self.victim.load(store).to(device)
            oracle = Oracle.of(model, str(self.victim))
            with attackable(model):
                for ids in torch.arange(len(split)).split(BATCH):
                    images = split.images[ids].to(torch.float32).div_(255).to(device)
                    draws = Draws(self.seed, ids, images)
                    seen = (images, *(built.corrupted(images, strength, draws) for strength in self.strength))
                    said.append(torch.stack([oracle.classes(each).cpu() for each in seen]))
                    hands.advance(len(ids))
        clean, *corrupted = torch.cat(said, 1)
        strength = torch.tensor(self.strength, dtype=torch.float64)
        record = Corrupted(torch.arange(len(split)), strength, split.labels, clean, torch.stack(corrupted))
        return {self.key: record}, {"device": device_name(device)}

    def __str__(self) -> str:
        return f"{self.component} on {self.victim}"


class CorruptionThreat(Threat):
    """The threat of one corruption.

    Args:
        face: How its results read; its ``threat`` is the threat's name.
        methods: Has the corruption.
    """

    record = Corrupted

    def __init__(self, face: Face, methods: Registry[Any]) -> None:
        self.face = face
        self.METHODS = methods  # type: ignore[misc]  # of this threat alone, where the class has none

    @override
    def method(self, component: Component, x: tuple[float, ...]) -> Method:
        if not x or any(strength < 0 for strength in x):
            raise ConfigError(f"{component.name} needs strengths from 0, such as {self.face.axis}: [0, 0.5], got {x}.")
        return Method(self.face.threat, component, x, view=VIEW)

    @override
    def play(self, method: Method, scene: Scene) -> Play:
        node = Corrupting(method.threat, method.component, scene.test, scene.victim, method.x, scene.seed)
        return Play((node,), (Address(CORRUPTED, node.key, str(node)),), scene.surrogate)


C = TypeVar("C", bound=Corruption)


def corruption(axis: str, untouched: str = "as they are", title: str = "") -> Callable[[type[C]], type[C]]:
    """Make a :class:`Corruption` a threat and its one method, both under the name of its file; a decorator.

    Args:
        axis: What its strength is called, in one word: ``axes.attack: [{name: fog, density: [0, 0.5]}]``.
        untouched: How tables head the column of strength 0.
        title: Title of its chart.
    """

    def register(kind: type[C]) -> type[C]:
        name = kind.__module__.rpartition(".")[2]
        face = Face(
            threat=name,
            title=title or f"Accuracy under {name}",
            axis=axis,
            baseline=0.0,
            untouched=untouched,
            headline="corrupted_accuracy",
            accuracy="uncorrupted_accuracy",
            measure="Accuracy of the victim",
            word="accuracy",
            views={VIEW: "Nature: nobody looks at any model"},
            about="Test images are corrupted in the same way for every model, and nobody looks at any model.",
            prefix=name,
        )
        methods: Registry[Any] = Registry(name, "")
        methods.register(kind)
        THREATS.register(CorruptionThreat(face, methods), kind.__module__)
        return kind

    return register
