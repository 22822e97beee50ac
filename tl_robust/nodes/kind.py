"""Kinds of entries of the store, and their addresses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tl_robust.errors import ConfigError

KINDS: dict[str, Kind] = {}
"""All kinds of the modules that are imported, by the name of their folder."""


@dataclass(frozen=True)
class Kind:
    """A kind of entry of the store.

    Attributes:
        folder: Its folder in the store.
        file: Name of the file that holds an entry's content.
        title: One of them, as the progress bar names it.
        pack: Gives a record as bytes; a function that can be pickled, as can ``unpack``.
        unpack: Gives the record of these bytes; raises ``ValueError`` alone where they are none that ``pack`` made.
        leaf: Nothing depends on its entries, so that one is left out without a word where what it needs failed.
        unit: What the work of its nodes is counted in, where they are long: ``epochs``.
    """

    folder: str
    file: str
    title: str
    pack: Callable[[Any], bytes]
    unpack: Callable[[bytes], Any]
    leaf: bool = False
    unit: str = ""

    def __post_init__(self) -> None:
        known = KINDS.setdefault(self.folder, self)
        if (known.file, known.title) != (self.file, self.title):
            raise ConfigError(
                f"two kinds of node are kept in the folder {self.folder!r}, {known.title} and {self.title}: rename one."
            )
        KINDS[self.folder] = self  # of a plugin file that was loaded again

    def __str__(self) -> str:
        return self.folder


@dataclass(frozen=True)
class Address:
    """An entry of the store, as another node needs it.

    Attributes:
        kind: Its kind.
        key: Its key.
        title: What it is, in words.
    """

    kind: Kind
    key: str
    title: str
