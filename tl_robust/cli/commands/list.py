"""Show every registered name.

example: tl-robust list --json
"""

from __future__ import annotations

import argparse
import json

from rich.console import Console
from rich.table import Table

from tl_robust.registry import kinds, names_in


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(parsed: argparse.Namespace, console: Console) -> int:
    from tl_robust.cli.parser import own_commands  # it imports this module's package

    names = {kind: names_in(package) for kind, package in kinds().items()} | {"command": sorted(own_commands())}
    names = dict(sorted(names.items()))
    if parsed.json:
        print(json.dumps(names))  # noqa: T201
        return 0
    table = Table(box=None, pad_edge=False, show_header=False)
    for kind, known in names.items():
        table.add_row(kind, ", ".join(known))
    console.print(table)
    return 0
