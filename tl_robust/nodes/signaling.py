"""What one model says of every sample of a pool that it may have learned from, and of the test split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from tl_robust.data.mapped import DomainInSpace
from tl_robust.data.splits import Pool
from tl_robust.nodes.hands import Hands, pixels
from tl_robust.nodes.kind import Address, Kind
from tl_robust.nodes.models import Model
from tl_robust.nodes.node import Made, Node
from tl_robust.nodes.payload import pack_record, unpack_record
from tl_robust.nodes.provenance import device_name
from tl_robust.nodes.store import Store
from tl_robust.types import ImageSet, Signals

SIGNALS = Kind("signals", "signals.npz", "signal", pack_record, partial(unpack_record, Signals))
BATCH = 1000  # images that a model is asked about at a time


@dataclass(frozen=True)
class Halves:
    """A pool of which models learn halves.

    Attributes:
        data: The domain; it has no half itself.
        val_share: Share of its training images that is the validation part of all models.
        canaries: Share of the others that are learned with a wrong label.
    """

    data: DomainInSpace
    val_share: float
    canaries: float = 0.0

    @property
    def pool(self) -> Pool:
        """The pool."""
        return self.data.pool(self.val_share, self.canaries)

    @cached_property
    def spec(self) -> dict[str, Any]:
        """Everything that decides which samples are asked about."""
        pool = self.pool
        return {
            "pool": pool.images.fingerprint,
            "val_share": self.val_share,
            "canaries": self.canaries,
            "test": self.data.images("test").fingerprint,
        }


@dataclass(frozen=True)
class Signaling(Node):
    """The logits of one model along its training.

    Attributes:
        models: The model after each of the epochs.
        epochs: Epochs.
        halves: The samples.
    """

    KIND = SIGNALS
    models: tuple[Model, ...]
    epochs: tuple[int, ...]
    halves: Halves

    @cached_property
    def spec(self) -> dict[str, Any]:
        """What the key is the digest of."""
        return {
            "kind": "signals",
            "models": [model.key for model in self.models],
            "epochs": list(self.epochs),
            **self.halves.spec,
        }

    @property
    def address(self) -> Address:
        """Where the store keeps the record."""
        return Address(SIGNALS, self.key, str(self))

    @property
    def nodes(self) -> tuple[Node, ...]:
        """What must be computed for it, and itself."""
        return (*(node for model in self.models for node in model.nodes), self)

    @property
    @override
    def needs(self) -> tuple[Address, ...]:
        return tuple(dict.fromkeys(address for model in self.models for address in model.addresses))

    @property
    @override
    def work(self) -> int:
        return len(self.models)

    @override
    def make(self, hands: Hands, store: Store) -> tuple[Mapping[str, Signals], Made]:
        pool, test = self.halves.pool, self.halves.data.images("test")
        images = pool.images.take(pool.learn)
        logits: list[Tensor] = []
        tested: list[Tensor] = []
        with hands.tester([]) as trainer:
            device = trainer.strategy.root_device
            for model in self.models:
                network = model.load(store).to(device).eval()
                logits.append(_asked(network, images, device))
                tested.append(_asked(network, test, device))
                hands.advance(1)
        record = Signals(
            sample_id=pool.learn,
            epochs=torch.tensor(self.epochs, dtype=torch.float64),
            label=images.labels,
            logits=torch.stack(logits),
            test_label=test.labels,
            test_logits=torch.stack(tested),
        )
        return {self.key: record}, {"device": device_name(device)}

    def __str__(self) -> str:
        return f"signals of {self.models[-1]}"


def _asked(network: nn.Module, images: ImageSet, device: torch.device) -> Tensor:
    """Logits, float32 ``[N,L]``, on the CPU."""
    values, _ = pixels(images)
    with torch.no_grad():
        return torch.cat([network(part.to(device)).float().cpu() for part in values.split(BATCH)])
