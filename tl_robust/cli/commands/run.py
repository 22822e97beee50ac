"""Run a bench: train, attack, judge, write tables and report.

example: tl-robust run embedded axes.seed=[0,1,2,3,4]
"""

from __future__ import annotations

import argparse

from rich.console import Console

from tl_robust.cli.commands.base import bench_arguments, load


def arguments(parser: argparse.ArgumentParser) -> None:
    bench_arguments(parser)
    parser.add_argument("--plain", action="store_true", help="lines instead of progress bars")


def run(parsed: argparse.Namespace, console: Console) -> int:
    from tl_robust.cli import session, views

    config = load(parsed)
    finished = session.run(config, console, parsed.plain)
    views.write(config, finished, console, publish=True)
    return 0
