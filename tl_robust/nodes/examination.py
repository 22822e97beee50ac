"""Examinations: what the trust checks measure of a model on a test set, once for all attacks of a norm and eps grid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from typing_extensions import override

from tl_robust.data.mapped import DomainInSpace, spread
from tl_robust.nodes.hands import Hands, pixels
from tl_robust.nodes.kind import Kind
from tl_robust.nodes.models import Model
from tl_robust.nodes.node import Made, Node, of
from tl_robust.nodes.payload import pack_examination, unpack_examination
from tl_robust.nodes.provenance import device_name
from tl_robust.nodes.store import Store
from tl_robust.trust import CHECKS, examine
from tl_robust.types import Examination

EXAMINATIONS = Kind("examinations", "examination.npz", "trust check", pack_examination, unpack_examination, leaf=True)
EXAMINED = 2000  # images that the trust checks choose theirs from


@dataclass(frozen=True)
class Examinee(Node):
    """A model that the trust checks look at, and what they look at it with.

    Attributes:
        model: The model.
        test: The domain whose test split is used.
        norm: Norm.
        eps: Sizes in [0,1] pixel units, ascending.
        seed: Seed of the choice of samples and of the probing attacks.
        through: What gradients are taken of where the model is guarded.
    """

    KIND = EXAMINATIONS
    model: Model
    test: DomainInSpace
    norm: str
    eps: tuple[float, ...]
    seed: int
    through: str = "exact"
    needs = of("model.addresses")

    @cached_property
    def same_labels(self) -> bool:
        """Whether the model names classes as the test set does."""
        return self.model.labels == self.test.labels

    @cached_property
    def spec(self) -> dict[str, Any]:
        """What the key is the digest of."""
        through = {} if self.through == "exact" else {"through": self.through}
        return {
            **through,
            "kind": "examination",
            "same_labels": self.same_labels,
            "model": self.model.key,
            "images": self.test.images("test").fingerprint,
            "norm": self.norm,
            "eps": list(self.eps),
            "seed": self.seed,
            "probes": [name for name in CHECKS.names() if CHECKS[name].probe],
        }

    @override
    def make(self, hands: Hands, store: Store) -> tuple[Mapping[str, Examination], Made]:
        whole = self.test.images("test")
        places = spread(len(whole), EXAMINED)
        with hands.tester([]) as trainer:
            device = trainer.strategy.root_device
            images, labels = (tensor.to(device) for tensor in pixels(whole.take(places)))
            examination = examine(
                self.model.load(store).to(device),
                images,
                labels if self.same_labels else None,
                self.eps,
                self.norm,
                sample_id=places.to(device),
                seed=self.seed,
                through=self.through,
            )
        hands.advance(1)
        return {self.key: examination}, {"device": device_name(device)}

    def __str__(self) -> str:
        return f"{self.model} on {self.test.domain}, {self.norm}"
