"""A node is something that is computed once and kept under a key: a training, the outcomes of a pass, an examination.

Everything that runs, stores or shows nodes knows no more of them than stands in this file, so that a new kind of work
is one new file.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from functools import cached_property
from operator import attrgetter
from typing import Any, ClassVar, Self

from tl_robust.nodes.hands import Hands
from tl_robust.nodes.kind import Address, Kind
from tl_robust.nodes.store import Store
from tl_robust.seeding import digest

Made = dict[str, Any]
"""How entries were made, in the form of JSON."""


def of(path: str) -> Any:
    """A property that a part of the object answers: with ``of("data.domain")`` a title is ``self.data.domain``."""
    return property(attrgetter(path))


class Keyed(ABC):
    """What has a key; frozen dataclasses below it pickle without what they have worked out but the key."""

    @property
    @abstractmethod
    def spec(self) -> Mapping[str, Any]:
        """Everything that can change what the key stands for, in the form of JSON."""

    @cached_property
    def key(self) -> str:
        """SHA-256 of the spec, under which the store keeps what is made."""
        return digest(self.spec)

    def __getstate__(self) -> dict[str, Any]:
        """Fields, key and spec: these two are small, and another process would have to read images for them."""
        names = (*getattr(self, "__dataclass_fields__", ()), "key", "spec")
        return {name: value for name, value in vars(self).items() if name in names}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)


class Node(Keyed):
    """Base of all nodes: frozen dataclasses whose fields say what is to be made.

    Whoever computes a node holds the lock of its key.

    Attributes:
        KIND: What its entries are.
    """

    KIND: ClassVar[Kind]

    @property
    def entries(self) -> Mapping[str, Mapping[str, Any]]:
        """Specs of what is stored by key; several where one pass makes them all."""
        return {self.key: self.spec}

    @property
    def needs(self) -> tuple[Address, ...]:
        """What must be in the store before the node can be made."""
        return ()

    @property
    def work(self) -> int:
        """How much there is to do, in the units that :meth:`make` tells the progress bar."""
        return 1

    def needs_of(self, key: str) -> tuple[Address, ...]:
        """What must be in the store before the entry of this key can be made."""
        return self.needs

    def only(self, keys: Collection[str]) -> Self:
        """The node without the entries of other keys, which are there already or cannot be made."""
        return self

    def joined(self, other: Self) -> Self:
        """One node with the entries of both, which have the same key: one pass makes them all."""
        return self

    def label(self, key: str) -> str:
        """An entry in words, as failures name it."""
        return str(self)

    def fault(self, key: str, record: Any) -> str:
        """Why a record of the store cannot be that of this entry; empty if it can."""
        return ""

    def note(self, made: Mapping[str, Any]) -> str:
        """What the progress line says beside the time."""
        return ""

    @abstractmethod
    def make(self, hands: Hands, store: Store) -> tuple[Mapping[str, Any], Made]:
        """Compute the entries.

        Args:
            hands: Does the computing, and is told of progress.
            store: Has what the node needs.

        Returns:
            A record for each key of :attr:`entries`, and of how they were made: ``device`` and what the kind tells.
        """
