"""The arguments of ``tl-robust``: the command's own module is imported, and no other; help comes without torch."""

from __future__ import annotations

import argparse
import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from tl_robust import __doc__ as question
from tl_robust import __version__
from tl_robust.cli import commands, plugins
from tl_robust.cli.commands.base import BENCHES
from tl_robust.errors import InputError, UnknownNameError
from tl_robust.registry import load_plugin


def parse(words: Sequence[str]) -> tuple[ModuleType, argparse.Namespace]:
    """The module of the command and its arguments; help and the version end the process with exit code 0.

    Only the module of the command itself is imported.

    Raises:
        UnknownNameError: No such command or option; the message shows the closest.
        InputError: An argument is missing, too many, or of another type.
    """
    own = own_commands()
    if not words or words[0].startswith("-"):
        overview, option = _overview(own, plugins.commands_for([])), words[0] if words else "--help"
        if option not in overview.options():
            raise UnknownNameError("option", option, overview.options())
        overview.parse_args([option])
    name, *rest = words
    if name in own:
        module = importlib.import_module(f"{commands.__name__}.{own[name].stem}")
    else:
        brought = plugins.commands_for(rest)
        if name not in brought:
            raise UnknownNameError("command", name, own | brought)
        module = load_plugin(brought[name])
    text, _, more = str(module.__doc__).partition("\n")
    parser = Parser(
        prog=f"tl-robust {name}",
        description=text,
        epilog=more.strip(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.arguments(parser)
    parsed, left = parser.parse_known_args(rest)
    for item in left:
        if item.startswith("-"):
            raise _unknown_option(parser, item, hasattr(parsed, "overrides"))
    if left and not hasattr(parsed, "overrides"):
        raise InputError(f"{parser.prog} has no use for {' '.join(left)}: see {parser.prog} --help.")
    if left:  # overrides after an option: argparse stops collecting there
        parsed.overrides += left
    return module, parsed


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one sentence with the closest name."""

    def error(self, message: str) -> NoReturn:
        """Raise the sentence, which the command line prints without the usage that argparse would put before it."""
        raise InputError(f"{message}; see {self.prog} --help.")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            raise UnknownNameError(action.dest, value, action.choices)

    def options(self) -> list[str]:
        """All options that a user should know."""
        visible = (action for action in self._actions if action.help != argparse.SUPPRESS)
        return [option for action in visible for option in action.option_strings]


def own_commands() -> dict[str, Path]:
    """Files of the commands of this package, by name."""
    folder = Path(commands.__path__[0])
    names = [item.name for item in pkgutil.iter_modules([str(folder)]) if item.name != "base"]
    return {name.replace("_", "-"): folder / f"{name}.py" for name in names}


def _overview(own: Mapping[str, Path], brought: Mapping[str, Path]) -> Parser:
    """What ``tl-robust --help`` shows; it only serves for options before any command."""
    width = max(map(len, [*own, *brought]))
    lists = [f"commands (each has its own --help):\n{plugins.table(own.items(), width)}"]
    others = [(name, path) for name, path in brought.items() if name not in own]
    if others:
        title = f"commands of plugins of the benches in {BENCHES}/"
        lists.append(f"{title} (tl-robust COMMAND BENCH):\n{plugins.table(others, width)}")
    parser = Parser(
        prog="tl-robust",
        usage="tl-robust COMMAND ...",
        description=question.partition("\n")[0],
        epilog="\n\n".join([*lists, "example: tl-robust run embedded axes.seed=[0,1,2,3,4]"]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"tl-robust {__version__}", help="show the version")
    return parser


def _unknown_option(parser: Parser, item: str, has_overrides: bool) -> InputError:
    option, equals, value = item.partition("=")
    error = UnknownNameError(f"option of {parser.prog}", option, parser.options())
    if has_overrides and equals and "did you mean" not in str(error):
        key = option.lstrip("-")
        return InputError(f"unknown option {option!r}: keys of a bench file have no dashes, write {key}={value}.")
    return error
