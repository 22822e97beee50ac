"""How a membership inference scores every sample for every model of a cohort, each with shadows of the other pairs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from typing import Any

import torch
from typing_extensions import override

from tl_robust.data.splits import Draw
from tl_robust.inference import build
from tl_robust.inference.scoring import scored
from tl_robust.nodes.hands import Hands
from tl_robust.nodes.kind import Address, Kind
from tl_robust.nodes.node import Made, Node
from tl_robust.nodes.payload import pack_record, unpack_record
from tl_robust.nodes.provenance import device_name
from tl_robust.nodes.signaling import Halves, Signaling
from tl_robust.nodes.store import Store
from tl_robust.registry import Component
from tl_robust.types import Exposure

EXPOSED = Kind("exposed", "exposure.npz", "inference", pack_record, partial(unpack_record, Exposure))


@dataclass(frozen=True)
class Exposing(Node):
    """Scores of all models of a cohort.

    Attributes:
        inference: The inference with the settings that its scores depend on.
        victims: What each model says, both of a pair after each other.
        shadows: What the shadows of the same halves say; the victims themselves where the attacker makes his shadows as
            they were made; none where the inference needs none.
        parent: What the public model says; None where the inference does not ask.
        halves: The samples.
        draws: Which half each model learned, or on the side ``source`` its parent.
        claim: Epsilon and delta that a defense claims; zeros without one.
    """

    KIND = EXPOSED
    inference: Component
    victims: tuple[Signaling, ...]
    shadows: tuple[Signaling, ...]
    parent: Signaling | None
    halves: Halves
    draws: tuple[Draw, ...]
    claim: tuple[float, float] = (0.0, 0.0)

    @cached_property
    def spec(self) -> dict[str, Any]:
        """What the key is the digest of."""
        return {
            "kind": "exposure",
            "inference": asdict(self.inference),
            "victims": [victim.key for victim in self.victims],
            "shadows": [shadow.key for shadow in self.shadows],
            "parent": self.parent.key if self.parent else None,
            "draws": [asdict(draw) for draw in self.draws],
            "claim": list(self.claim),
        }

    @property
    def address(self) -> Address:
        """Where the store keeps the record."""
        return Address(EXPOSED, self.key, str(self))

    @property
    def _asked(self) -> tuple[Signaling, ...]:
        return tuple(dict.fromkeys((*self.victims, *self.shadows, *filter(None, [self.parent]))))

    @property
    def nodes(self) -> tuple[Node, ...]:
        """What must be computed for it, and itself."""
        return (*(node for asked in self._asked for node in asked.nodes), self)

    @property
    @override
    def needs(self) -> tuple[Address, ...]:
        return tuple(asked.address for asked in self._asked)

    @override
    def make(self, hands: Hands, store: Store) -> tuple[Mapping[str, Exposure], Made]:
        loaded = {asked.key: store.load(asked.KIND, asked.key) for asked in self._asked}
        pool = self.halves.pool
        victims, shadows = ([loaded[asked.key] for asked in group] for group in (self.victims, self.shadows))
        record = scored(
            build(self.inference),
            victims,
            shadows,
            loaded[self.parent.key] if self.parent else None,
            torch.stack([draw.members(pool) for draw in self.draws]),
            pool.canary,
            self.claim,
        )
        hands.advance(1)
        return {self.key: record}, {"device": device_name(torch.device("cpu"))}

    def __str__(self) -> str:
        return f"{self.inference} on {len(self.victims)} of {self.victims[0].models[-1].title}"
