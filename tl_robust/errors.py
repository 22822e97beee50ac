"""Every error a user can meet, in one tree.

TLRobustError               base class; ``exit_code`` is what the command line returns
├── InputError              what the user wrote cannot be used (exit code 2)
│   ├── ConfigError         a bench file, an override, a setting
│   │   └── UnknownNameError     a name that no registry or field knows; shows the closest
│   ├── DataError           a data file is missing, damaged or of another format
│   └── ResultsError        a results folder cannot be written or read
├── StoreError              an entry of the store is damaged (the executor computes it again)
└── BenchFailedError             some cells failed; the first cause of each is in failures.json (exit code 1)
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from tl_robust.text import first_few

MOST = 100  # known names that are shown


class TLRobustError(Exception):
    """Base class of this package's errors."""

    exit_code = 1


class InputError(TLRobustError):
    """The user's input cannot be used; the message says what was expected, what came and what to do."""

    exit_code = 2


class ConfigError(InputError):
    """A bench file, an override or a setting is wrong."""


class UnknownNameError(ConfigError):
    """A name that is not among the known ones.

    Args:
        kind: What was looked for, in the user's words ("attack").
        name: The name that was given.
        known: The names that exist.
        more: A sentence that comes last.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str], more: str = "") -> None:
        names = sorted(known)
        close = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)  # YAML has numbers as keys
        hint = f"; did you mean {close[0]!r}?" if close else "."
        listed = first_few(names, MOST, count=True) or "none"
        super().__init__(f"unknown {kind} {name!r}{hint} Known: {listed}.{more and f' {more}'}")


class DataError(InputError):
    """A data file is missing, damaged or of another format."""


class ResultsError(InputError):
    """A results folder cannot be written or read."""


class StoreError(TLRobustError):
    """An entry of the store is damaged."""


class BenchFailedError(TLRobustError):
    """Some nodes of a bench failed; all others are done."""
