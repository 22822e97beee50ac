"""The command line: parse, call, print. Each command is a file of ``commands/``."""

from __future__ import annotations

import argparse
import importlib
import os
import pkgutil
import shlex
import sys
from collections.abc import Sequence
from contextlib import suppress
from types import ModuleType

from tl_robust import commands
from tl_robust.errors import TLRobustError
from tl_robust.screen import Screen
from tl_robust.stopping import EXIT_CODE, Stopped, stoppable
from tl_robust.text import plain


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        0: done; 1: some cells failed or a check did not pass; 2: bad input; 130: stopped by Ctrl-C; 143: by SIGTERM.
    """
    again = shlex.join(["tl-robust", *(arguments if arguments is not None else sys.argv[1:])])
    words = plain(f"stopped: what was finished is kept; go on with: {again}")
    try:
        with stoppable(words, program=arguments is None):
            return _run(arguments)
    except (KeyboardInterrupt, Stopped) as stop:
        with suppress(OSError):  # the terminal may be gone
            print(f"\n{words}", file=sys.stderr)  # noqa: T201
        return EXIT_CODE if isinstance(stop, Stopped) else 130


def _run(arguments: Sequence[str] | None) -> int:
    """Parse, call the command, and say in one sentence what it could not do."""
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
    try:
        return int(found[parsed.command].run(parsed, Screen()))
    except TLRobustError as error:
        print(plain(f"error: {error}"), file=sys.stderr)  # noqa: T201
        return error.exit_code
    except MemoryError:
        print("error: there is not enough memory: free some, or raise its limit (ulimit -v).", file=sys.stderr)  # noqa: T201
        return 1


def _commands() -> dict[str, ModuleType]:
    """Modules by command; they import what is heavy only when they run."""
    names = [item.name for item in pkgutil.iter_modules(commands.__path__) if item.name != "base"]
    return {name.replace("_", "-"): importlib.import_module(f"{commands.__name__}.{name}") for name in names}


if __name__ == "__main__":
    sys.exit(main())
