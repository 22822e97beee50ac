"""What a command promises: help in a line, an example that its parser takes, and an exit code."""

from __future__ import annotations

import argparse
import inspect
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import NoReturn

from typing_extensions import override

from tl_robust.contracts.contract import Contracts, Named, demand

FOLDER = "tl_robust.cli.commands"


@dataclass(frozen=True)
class Command:
    """A file with ``arguments`` and ``run``.

    Attributes:
        name: As it is typed.
        module: The file.
        own: It came with the package.
    """

    name: str
    module: ModuleType
    own: bool

    @property
    def example(self) -> str:
        """The last line of its docstring."""
        return (self.module.__doc__ or "").strip().splitlines()[-1:][0] if self.module.__doc__ else ""


def cases(named: Named) -> Iterator[tuple[str, Command]]:
    """The command under the name that is typed."""
    yield "", Command(named.name.replace("_", "-"), named.item, named.path is None)


CONTRACTS = Contracts("command", cases)


class _RefusedError(Exception):
    """The parser does not take the words."""


class _Parser(argparse.ArgumentParser):
    @override
    def error(self, message: str) -> NoReturn:
        raise _RefusedError(message)


def parser_of(command: Command) -> argparse.ArgumentParser:
    """A parser with the arguments of a command, which raises where the program would end."""
    parser = _Parser(prog=f"tl-robust {command.name}", add_help=False)
    command.module.arguments(parser)
    return parser


@CONTRACTS
def has_a_line_of_help(command: Command) -> None:
    """The first line of its file's docstring is a sentence with a full stop, which ``tl-robust --help`` shows."""
    first = (command.module.__doc__ or "").strip().partition("\n")[0]
    right = re.match(r"[A-Z].*\.$", first)
    demand(right, "a first line with a capital and a full stop", repr(first), "write a docstring for the file")


@CONTRACTS
def ends_with_an_example(command: Command) -> None:
    """The last line of the docstring is ``example: tl-robust NAME ...``."""
    begin = f"example: tl-robust {command.name}"
    right = command.example == begin or command.example.startswith(f"{begin} ")
    demand(right, f"a last line that begins with {begin!r}", repr(command.example), "write an example")


@CONTRACTS
def takes_its_own_example(command: Command) -> None:
    """Its parser takes the words of the example."""
    words = shlex.split(command.example.removeprefix("example: tl-robust "))[1:]
    said = ""
    try:
        _, left = parser_of(command).parse_known_args(words)
        said = f"no use for {' '.join(left)}" if any(word.startswith("-") for word in left) else ""
    except _RefusedError as refused:
        said = str(refused)
    demand(not said, f"its parser to take {' '.join(words)!r}", said, "correct the example or the arguments")


@CONTRACTS
def explains_every_option(command: Command) -> None:
    """Each argument has a help text."""
    parser = parser_of(command)
    silent = [action.dest for action in parser._actions if not action.help]
    demand(not silent, "help for every argument", f"none for {', '.join(silent)}", "give add_argument help=")


@CONTRACTS
def runs_with_what_was_parsed_and_a_console(command: Command) -> None:
    """Its functions are ``arguments(parser)`` and ``run(parsed, console)``, which gives the exit code."""
    for name, count in (("arguments", 1), ("run", 2)):
        parameters = list(inspect.signature(getattr(command.module, name)).parameters.values())
        needed = [item for item in parameters if item.default is inspect.Parameter.empty]
        right = len(needed) <= count <= len(parameters)
        what = "run(parsed, console)" if name == "run" else "arguments(parser)"
        demand(right, f"a function {what}", f"{len(needed)} arguments", "give it these arguments")


@CONTRACTS
def has_a_name_of_its_own(command: Command) -> None:
    """No command of the package is called so: that one would be run."""
    spec = find_spec(FOLDER)
    folder = Path(next(iter(spec.submodule_search_locations or [""]))) if spec else Path()
    taken = not command.own and (folder / f"{command.name.replace('-', '_')}.py").is_file()
    demand(not taken, "a name that the package has not", repr(command.name), "rename the file")
