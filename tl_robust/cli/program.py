"""The command line: parse, call, print. Each command is a file of ``commands/``."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from contextlib import suppress

from tl_robust.cli.commands.base import prepare
from tl_robust.cli.parser import parse
from tl_robust.cli.stopping import EXIT_CODE, Stopped, end_children, stoppable
from tl_robust.errors import TLRobustError
from tl_robust.text import plain


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        0: done; 1: some cells failed or a check did not pass; 2: bad input; 130: stopped by Ctrl-C; 143: by SIGTERM.
    """
    typed = sys.argv[1:] if arguments is None else arguments
    words = plain(f"stopped: what was finished is kept; go on with: {shlex.join(['tl-robust', *typed])}")
    try:
        with stoppable(words, program=arguments is None):
            return _run(typed)
    except (KeyboardInterrupt, Stopped) as stop:
        if arguments is None:
            end_children()
        with suppress(OSError):  # the terminal may be gone
            print(f"\n{words}", file=sys.stderr)  # noqa: T201
        return EXIT_CODE if isinstance(stop, Stopped) else 130


def _run(arguments: Sequence[str]) -> int:
    """Parse, call the command, and say in one sentence what it could not do."""
    try:
        command, parsed = parse(arguments)
        for name in list(os.environ):  # Lightning would take these for its own cluster and log nothing
            if name.startswith("SLURM_") or name in ("RANK", "LOCAL_RANK", "WORLD_SIZE"):
                del os.environ[name]
        from tl_robust.cli.screen import Screen  # help, which should come at once, does without rich

        prepare(parsed)
        return int(command.run(parsed, Screen()))
    except TLRobustError as error:
        print(plain(f"error: {error}"), file=sys.stderr)  # noqa: T201
        return error.exit_code
    except MemoryError:
        print("error: there is not enough memory: free some, or raise its limit (ulimit -v).", file=sys.stderr)  # noqa: T201
        return 1


if __name__ == "__main__":
    sys.exit(main())
