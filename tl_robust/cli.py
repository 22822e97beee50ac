"""The command line: parse, call, print. Each command is a file of ``commands/``."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from tl_robust.commands.base import prepare
from tl_robust.errors import TLRobustError
from tl_robust.parser import parse


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        0: done; 1: some cells failed or a check did not pass; 2: bad input; 130: stopped by Ctrl-C.
    """
    try:
        command, parsed = parse(sys.argv[1:] if arguments is None else arguments)
        for name in list(os.environ):  # Lightning would take these for its own cluster and log nothing
            if name.startswith("SLURM_") or name in ("RANK", "LOCAL_RANK", "WORLD_SIZE"):
                del os.environ[name]
        from rich.console import Console  # help, which should come at once, does without

        # no markup: names and messages may hold brackets
        console = Console(width=None if sys.stdout.isatty() else 120, markup=False, emoji=False, highlight=False)
        prepare(parsed)
        return int(command.run(parsed, console))
    except TLRobustError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    except KeyboardInterrupt:
        again = " ".join(["tl-robust", *(arguments if arguments is not None else sys.argv[1:])])
        print(f"\nstopped: what was finished is kept; go on with: {again}", file=sys.stderr)  # noqa: T201
        return 130


if __name__ == "__main__":
    sys.exit(main())
