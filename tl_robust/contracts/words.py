"""Nodes that compute nothing but words, for contracts of engines; a module, so that other processes can have them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tl_robust.nodes.hands import Hands
from tl_robust.nodes.kind import Address, Kind
from tl_robust.nodes.node import Made, Node
from tl_robust.nodes.store import Store


def pack(text: str) -> bytes:
    """A text as bytes."""
    return text.encode()


def unpack(content: bytes) -> str:
    """The text of :func:`pack`."""
    return content.decode()


WORDS = Kind("contract_words", "word.txt", "word", pack, unpack)


@dataclass(frozen=True)
class Word(Node):
    """The words of its parents and its own name; a bad one fails."""

    KIND = WORDS
    name: str
    parents: tuple[Word, ...] = ()
    bad: bool = field(default=False, compare=False)

    @property
    def spec(self) -> Mapping[str, Any]:
        """Name and parents."""
        return {"word": self.name, "parents": [parent.key for parent in self.parents]}

    @property
    def address(self) -> Address:
        """Where it is kept."""
        return Address(WORDS, self.key, str(self))

    @property
    def needs(self) -> tuple[Address, ...]:
        """Its parents."""
        return tuple(parent.address for parent in self.parents)

    def make(self, hands: Hands, store: Store) -> tuple[Mapping[str, Any], Made]:
        """Join the words, or fail."""
        if self.bad:
            raise RuntimeError("no luck")
        hands.advance(1)
        text = " ".join([*(store.load(WORDS, parent.key) for parent in self.parents), self.name])
        return {self.key: text}, {"device": "cpu"}

    def __str__(self) -> str:
        return self.name
