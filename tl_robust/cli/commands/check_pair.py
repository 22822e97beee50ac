"""Check the data of a pair.

example: tl-robust check-pair rendered_syn-optdigits
"""

from __future__ import annotations

import argparse

from rich.console import Console
from rich.table import Table

from tl_robust.cli.commands.base import overrides, path


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("pair", help="source-target, or a registered pair")
    overrides(parser)
    parser.add_argument("--bench", help="bench file with the space and the domains that it declares")


def run(parsed: argparse.Namespace, console: Console) -> int:
    from tl_robust.config import load_settings
    from tl_robust.data.check import check_pair
    from tl_robust.data.left_out import left_out
    from tl_robust.data.pair import get_pair

    settings, space = load_settings(parsed.overrides, path(parsed.bench) if parsed.bench else None, parsed.pair)
    pair = get_pair(parsed.pair, space, settings)(settings)
    sheet = check_pair(pair)
    table = Table(box=None, pad_edge=False, show_header=False)
    for line in sheet:
        table.add_row("ok" if line.passed else "FAILED", line.check, line.found)
    console.print(table)
    for sentence in left_out((pair.side("source"), pair.side("target"))):
        console.print(f"Left out: {sentence}", soft_wrap=True)
    return 0 if all(line.passed for line in sheet) else 1
