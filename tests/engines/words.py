"""Nodes that compute nothing, for tests of the loop; also a plugin, so that helper processes can have them."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tl_robust.errors import ConfigError
from tl_robust.nodes.hands import Hands
from tl_robust.nodes.kind import Address, Kind
from tl_robust.nodes.node import Made, Node
from tl_robust.nodes.store import Store
from tl_robust.seeding import digest

TRACE = Path("trace.txt")


def pack(text: str) -> bytes:
    return text.encode()


def unpack(content: bytes) -> str:
    return content.decode()


WORDS = Kind("words", "word.txt", "word", pack, unpack)
SONGS = Kind("songs", "song.txt", "song", pack, unpack)
PRINTS = Kind("prints", "print.txt", "print", pack, unpack, leaf=True)


def traced(name: str) -> None:
    """Leave a line for each time that something is made, and by whom."""
    with TRACE.open("a") as file:
        file.write(f"{name} {os.getpid()}\n")


@dataclass(frozen=True)
class Word(Node):
    """The words of its parents and its own name; it may fail, refuse, be slow, or stay for good."""

    KIND = WORDS
    name: str
    parents: tuple[Word, ...] = ()
    act: str = field(default="", compare=False)

    @property
    def spec(self) -> Mapping[str, Any]:
        return {"word": self.name, "parents": [parent.key for parent in self.parents]}

    @property
    def address(self) -> Address:
        return Address(WORDS, self.key, str(self))

    @property
    def needs(self) -> tuple[Address, ...]:
        return tuple(parent.address for parent in self.parents)

    def fault(self, key: str, record: Any) -> str:
        return "" if record.endswith(self.name) else f"it ends in {record[-3:]}"

    def note(self, made: Mapping[str, Any]) -> str:
        return f"{made['letters']} letters"

    def make(self, hands: Hands, store: Store) -> tuple[Mapping[str, Any], Made]:
        traced(self.name)
        if self.act == "fail":
            raise RuntimeError("no luck\nat all")
        if self.act == "refuse":
            raise ConfigError("write another word.")
        if self.act == "look":
            traced(f"{store.marks('running')[self.key]['title']} runs")
        while self.act == "stay":
            time.sleep(0.1)
        time.sleep(0.1 * (self.act == "slow"))
        hands.advance(1)
        text = " ".join([*(store.load(WORDS, parent.key) for parent in self.parents), self.name])
        return {self.key: text}, {"device": "mouth", "letters": len(text)}

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Song(Node):
    """One verse a word, all made in one pass."""

    KIND = SONGS
    name: str
    verses: tuple[Word, ...] = field(default=(), compare=False)
    act: str = field(default="", compare=False)

    @property
    def spec(self) -> Mapping[str, Any]:
        return {"song": self.name}

    def verse(self, word: Word) -> dict[str, Any]:
        return {"song": self.name, "word": word.key}

    def key_of(self, word: Word) -> str:
        return digest(self.verse(word))

    @property
    def entries(self) -> Mapping[str, Mapping[str, Any]]:
        return {self.key_of(word): self.verse(word) for word in self.verses}

    @property
    def needs(self) -> tuple[Address, ...]:
        return tuple(word.address for word in self.verses)

    @property
    def work(self) -> int:
        return 10

    def needs_of(self, key: str) -> tuple[Address, ...]:
        return tuple(word.address for word in self.verses if self.key_of(word) == key)

    def only(self, keys: Collection[str]) -> Song:
        return replace(self, verses=tuple(word for word in self.verses if self.key_of(word) in keys))

    def label(self, key: str) -> str:
        return next(f"{self} of {word}" for word in self.verses if self.key_of(word) == key)

    def make(self, hands: Hands, store: Store) -> tuple[Mapping[str, Any], Made]:
        traced(f"{self.name}({','.join(map(str, self.verses))})")
        if self.act == "fail":
            raise RuntimeError("hoarse")
        hands.advance(10)
        verses = {self.key_of(word): f"{self.name}: {store.load(WORDS, word.key)}" for word in self.verses}
        return verses, {"device": "mouth"}

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Print(Node):
    """A word on paper, which nothing depends on."""

    KIND = PRINTS
    word: Word
    act: str = field(default="", compare=False)

    @property
    def spec(self) -> Mapping[str, Any]:
        return {"print": self.word.key}

    @property
    def needs(self) -> tuple[Address, ...]:
        return (self.word.address,)

    def make(self, hands: Hands, store: Store) -> tuple[Mapping[str, Any], Made]:
        traced(f"print of {self.word}")
        if self.act == "fail":
            raise RuntimeError("no ink")
        hands.advance(1)
        return {self.key: store.load(WORDS, self.word.key)}, {"device": "press"}

    def __str__(self) -> str:
        return f"{self.word} on paper"
