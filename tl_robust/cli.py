"""The command line: parse, call, print. Each command is a file of ``commands/``."""

from __future__ import annotations

import argparse
import importlib
import os
import pkgutil
import sys
from collections.abc import Sequence
from types import ModuleType

from rich.console import Console

from tl_robust import commands
from tl_robust.errors import TLRobustError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        0: done; 1: some cells failed or a check did not pass; 2: bad input; 130: stopped by Ctrl-C.
    """
    found = _commands()
    parser = argparse.ArgumentParser(prog="tl-robust", description=__doc__.partition(":")[0] + " of tl_robust.")
    choices = parser.add_subparsers(dest="command", required=True)
    for name, module in found.items():
        text = str(module.__doc__).splitlines()[0]
        module.arguments(choices.add_parser(name, help=text, description=text))
    parsed, rest = parser.parse_known_args(arguments)
    if any(item.startswith("-") for item in rest) or (rest and not hasattr(parsed, "overrides")):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:  # overrides after an option: argparse stops collecting there
        parsed.overrides += rest
    for name in list(os.environ):  # Lightning would take these for its own cluster and log nothing
        if name.startswith("SLURM_") or name in ("RANK", "LOCAL_RANK", "WORLD_SIZE"):
            del os.environ[name]
    # no markup: names and messages may hold brackets
    console = Console(width=None if sys.stdout.isatty() else 120, markup=False, emoji=False, highlight=False)
    try:
        return int(found[parsed.command].run(parsed, console))
    except TLRobustError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    except KeyboardInterrupt:
        again = " ".join(["tl-robust", *(arguments if arguments is not None else sys.argv[1:])])
        print(f"\nstopped: what was finished is kept; go on with: {again}", file=sys.stderr)  # noqa: T201
        return 130


def _commands() -> dict[str, ModuleType]:
    """Modules by command; they import what is heavy only when they run."""
    names = [item.name for item in pkgutil.iter_modules(commands.__path__) if item.name != "base"]
    return {name.replace("_", "-"): importlib.import_module(f"{commands.__name__}.{name}") for name in names}


if __name__ == "__main__":
    sys.exit(main())
