"""A few test images with a trigger on them, to be looked at; the store keeps classes, not images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from tl_robust.backdoors import build
from tl_robust.data.mapped import DomainInSpace
from tl_robust.nodes.hands import Hands
from tl_robust.nodes.kind import Address
from tl_robust.nodes.node import Made
from tl_robust.nodes.pictures import SHOWN, Pictured
from tl_robust.nodes.poisoning import TRIGGERS, TriggerFit
from tl_robust.nodes.store import Store
from tl_robust.registry import Component
from tl_robust.types import Pictures


@dataclass(frozen=True)
class StampedPictures(Pictured):
    """The first test image of each of the first classes but t, clean and stamped.

    Attributes:
        stamp: The backdoor with the settings of its trigger alone.
        target: The class t as the victims number it.
        test: The target domain.
        fit: What the trigger learned from a clean model; None where it learns nothing.
        shown: Keys of the records of these images, one a victim.
    """

    stamp: Component
    target: int
    test: DomainInSpace
    fit: TriggerFit | None
    shown: tuple[str, ...]

    @property
    @override
    def outcomes(self) -> tuple[str, ...]:
        return self.shown

    @cached_property
    def sample_id(self) -> Tensor:
        """Places of the images in the test split, int64 ``[M]``."""
        labels = self.test.images("test").labels
        others = [label for label in labels.unique().tolist() if label != self.target]
        return torch.tensor([int((labels == label).nonzero()[0, 0]) for label in others[:SHOWN]], dtype=torch.int64)

    @cached_property
    def spec(self) -> dict[str, Any]:
        """What the key is the digest of."""
        return {
            "kind": "stamped pictures",
            "stamp": asdict(self.stamp),
            "fit": self.fit.key if self.fit else None,
            "images": self.test.images("test").fingerprint,
            "samples": self.sample_id.tolist(),
        }

    @property
    @override
    def needs(self) -> tuple[Address, ...]:
        return (Address(TRIGGERS, self.fit.key, str(self.fit)),) if self.fit else ()

    @override
    def make(self, hands: Hands, store: Store) -> tuple[Mapping[str, Pictures], Made]:
        fitted: Mapping[str, Tensor] = store.load(TRIGGERS, self.fit.key) if self.fit else {}
        clean = self.test.images("test").take(self.sample_id).images
        stamped = build(self.stamp).stamp(clean, self.sample_id, fitted)
        hands.advance(self.work)
        one = torch.zeros(1, dtype=torch.float64)  # a trigger has no size to choose
        pictures = Pictures(self.sample_id, one, clean, stamped[None], self.test.labels)
        return {self.key: pictures}, {"device": "cpu"}

    @override
    def joined(self, other: StampedPictures) -> StampedPictures:
        return replace(self, shown=tuple(dict.fromkeys((*self.shown, *other.shown))))

    def __str__(self) -> str:
        return f"{self.stamp} on {self.test.domain}"
