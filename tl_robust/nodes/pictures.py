"""Pictures: a few samples of a craft group, crafted again to be looked at; the store keeps classes, not images."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from tl_robust.models.fast import accelerate
from tl_robust.nodes.crafting import OUTCOMES, CraftGroup
from tl_robust.nodes.hands import Hands, pixels
from tl_robust.nodes.kind import Address, Kind
from tl_robust.nodes.node import Made, Node
from tl_robust.nodes.payload import pack_pictures, unpack_pictures
from tl_robust.nodes.provenance import device_name
from tl_robust.nodes.store import Store
from tl_robust.types import Pictures

PICTURES = Kind("pictures", "pictures.npz", "picture", pack_pictures, unpack_pictures, leaf=True)
SHOWN = 6  # samples with pictures, each of another class
SHOWN_EPS = 4  # and the sizes they are shown at


class Pictured(Node):
    """Base of the nodes that make pictures."""

    KIND = PICTURES

    @property
    @abstractmethod
    def outcomes(self) -> tuple[str, ...]:
        """Keys of the records whose images are shown."""


@dataclass(frozen=True)
class PictureGroup(Pictured):
    """A few samples of a craft group as they were attacked.

    Attributes:
        group: The craft group, with the victims that are shown.
    """

    group: CraftGroup

    @property
    @override
    def outcomes(self) -> tuple[str, ...]:
        return tuple(self.group.entries)

    @cached_property
    def sample_id(self) -> Tensor:
        """The first sample of each of the first classes, int64 ``[M]``."""
        labels = self.group.test.images("test").labels
        return torch.stack([(labels == label).nonzero()[0, 0] for label in labels.unique()[:SHOWN]])

    @cached_property
    def places(self) -> list[int]:
        """Places in the group's eps, above 0, evenly spaced to the largest."""
        above = [place for place, eps in enumerate(self.group.eps) if eps > 0]
        chosen = torch.linspace(0, len(above) - 1, min(len(above), SHOWN_EPS)).round().long()
        return [above[place] for place in chosen.tolist()]

    @cached_property
    def spec(self) -> dict[str, Any]:
        """What the key is the digest of."""
        samples = self.sample_id.tolist()
        return {"kind": "pictures", "group": self.group.spec, "samples": samples, "places": self.places}

    @property
    @override
    def needs(self) -> tuple[Address, ...]:
        return (*self.group.surrogate.addresses, Address(OUTCOMES, next(iter(self.group.entries)), str(self.group)))

    @override
    def make(self, hands: Hands, store: Store) -> tuple[Mapping[str, Pictures], Made]:
        """Craft at all eps and in the same (fast) mode as in the full run, and keep some."""
        group, attack = self.group, self.group.built
        refused = store.manifest(OUTCOMES, self.needs[-1].key)["made"].get("refused", "never tried")
        chosen = group.test.images("test").take(self.sample_id)
        with hands.tester([]) as trainer:
            device = trainer.strategy.root_device
            network = group.surrogate.load(store).to(device)
            model = network if refused else accelerate(network, group.fast)
            options: dict[str, Any] = {"eps": group.eps, "seed": group.seed, "through": group.through}
            known, *pool = (
                (images.to(device), labels.to(device) if group.same_labels else None)
                for images, labels in map(pixels, filter(None, (chosen, group.pool())))
            )
            fitted = attack.fitted(model, *pool[0], **options) if pool else None
            options |= {"sample_id": self.sample_id.to(device), "early": group.early, "fitted": fitted}
            options["strict"] = False  # a network that diverged has pictures, too
            adversarial = attack(model, *known, **options)[self.places].mul(255).round().to(torch.uint8).cpu()
        eps = torch.tensor(group.eps, dtype=torch.float64)[self.places]
        hands.advance(1)
        pictures = Pictures(self.sample_id, eps, chosen.images, adversarial, group.test.labels)
        return {self.key: pictures}, {"device": device_name(device)}

    @override
    def joined(self, other: PictureGroup) -> PictureGroup:
        return PictureGroup(self.group.joined(other.group))

    def __str__(self) -> str:
        return str(self.group)
