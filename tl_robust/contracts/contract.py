"""What a contract is: one promise of all components of a kind, a function of one of them that raises a sentence."""

from __future__ import annotations

import importlib
import re
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tl_robust import registry

F = TypeVar("F", bound=Callable[..., None])
FOLDER = "tl_robust.contracts.kinds"


class BrokenError(Exception):
    """A contract is not kept; the message says what was expected, what came instead and what to do.

    Args:
        expected: What the contract promises, as it goes on after "expected".
        got: What came, as it goes on after "got".
        todo: What the author does about it, in the imperative.
        trace: Printed traceback of an error that is behind it, where somebody else has caught that error.
    """

    def __init__(self, expected: str, got: str, todo: str, trace: str = "") -> None:
        super().__init__(f"expected {expected}, got {got}: {todo}.")
        self.expected, self.got, self.todo, self.trace = expected, got, todo, trace

    def told(self, path: Path | None) -> str:
        """The message, with the line of the author's file through which an error came; where there is one.

        Args:
            path: The author's file, resolved.
        """
        if path and (lines := re.findall(rf'File "{re.escape(str(path))}", line (\d+)', self.trace)):
            return str(BrokenError(self.expected, self.got, f"correct line {lines[-1]} of {path.name}"))
        place = place_of(self.__context__, path)
        return str(BrokenError(self.expected, self.got, f"{self.todo} ({place})") if place else self)


class NotAskedError(Exception):
    """A contract cannot be asked of this object; the message is a sentence with the reason."""


def demand(kept: object, expected: str, got: object, todo: str, trace: str = "") -> None:
    """Break the contract unless ``kept`` is true; see :class:`BrokenError`.

    Raises:
        BrokenError: It is not.
    """
    if not bool(kept):
        raise BrokenError(expected, str(got), todo, trace)


@dataclass(frozen=True)
class Named:
    """A registered object, as contracts are asked about it.

    Attributes:
        kind: The kind that it is registered as.
        name: Its registered name.
        item: The object itself.
        path: The file that brought it; None where it came with the package.
        root: Folder of data sets (``data.root``), for what reads some; None where none was given.
    """

    kind: str
    name: str
    item: Any
    path: Path | None = None
    root: Path | None = None


@dataclass(frozen=True)
class Contract:
    """One promise.

    Attributes:
        kind: The kind whose components promise it.
        function: Takes a case, and raises :class:`BrokenError` or :class:`NotAskedError`.
        once: It is asked once, of the registered object (:class:`Named`), and not of every case made of it.
    """

    kind: str
    function: Callable[[Any], None]
    once: bool = False

    @property
    def name(self) -> str:
        """What is promised, as a sentence reads."""
        return self.function.__name__.replace("_", " ")

    @property
    def says(self) -> str:
        """The first paragraph of its docstring."""
        return " ".join((self.function.__doc__ or "").strip().split("\n\n")[0].split())

    def __call__(self, case: Any) -> None:
        """Ask it of one case."""
        self.function(case)

    def __str__(self) -> str:
        return self.function.__name__

    def answer(self, case: Any, path: Path | None = None) -> str:
        """Empty where the contract is kept; else the sentence that says how it is broken, whatever was raised.

        Args:
            case: What it is asked of.
            path: The author's file, of which an error names the line.

        Raises:
            NotAskedError: It cannot be asked of this case.
        """
        try:
            self.function(case)
        except NotAskedError:
            raise
        except BrokenError as broken:
            return broken.told(path)
        except Exception as error:  # noqa: BLE001  (an author's code may raise anything, and the sheet goes on)
            return crash(error, path)
        return ""


class Contracts:
    """All contracts of a kind; calling it with a function adds one.

    Args:
        kind: The registry's word for the kind ("attack").
        cases: What the contracts are asked of: titles and objects, made of a registered object; several where one
            object stands for several, such as an attack in every norm.
    """

    def __init__(self, kind: str, cases: Callable[[Named], Iterator[tuple[str, Any]]]) -> None:
        self.kind = kind
        self.cases = cases
        self.contracts: list[Contract] = []

    def __call__(self, function: F) -> F:
        """Add a contract that is asked of every case; a decorator."""
        self.contracts.append(Contract(self.kind, function))
        return function

    def once(self, function: F) -> F:
        """Add a contract that is asked of the registered object, :class:`Named`; a decorator."""
        self.contracts.append(Contract(self.kind, function, once=True))
        return function

    def asked(self, named: Named) -> Iterator[tuple[Contract, str, Any]]:
        """Every contract with the title of a case and the case; those that are asked once come first."""
        for contract in self.contracts:
            if contract.once:
                yield contract, "", named
        each = [contract for contract in self.contracts if not contract.once]
        for title, case in self.cases(named) if each else ():
            for contract in each:
                yield contract, title, case


def crash(error: BaseException, path: Path | None = None) -> str:
    """An unexpected error as a sentence, with the line of the author's file where it came from."""
    text = (str(error).splitlines() or [""])[0].rstrip(".")
    got = f"{type(error).__name__}{f' ({text})' if text else ''}"
    return f"expected an answer, got {got}: correct {place_of(error, path) or 'what raises it'}."


def place_of(error: BaseException | None, path: Path | None) -> str:
    """``line 7 of fog.py``, through which an error came, or else one that it came from; empty where there is none.

    Args:
        error: The error.
        path: The author's file, resolved.
    """
    while error and path:
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if frame.filename == str(path)]
        if lines:
            return f"line {lines[-1]} of {path.name}"
        error = error.__cause__ or error.__context__
    return ""


def kinds() -> list[str]:
    """All kinds that have contracts: those of the registries, and commands."""
    return sorted([*registry.kinds(), "command"])


def contracts_of(kind: str) -> Contracts:
    """The contracts of a kind, which stand in the file of its name."""
    module = importlib.import_module(f"{FOLDER}.{kind.replace(' ', '_')}")
    found = module.CONTRACTS
    assert isinstance(found, Contracts)
    return found
