"""Run a bench: train, attack, judge, write tables and report.

example: tl-robust run embedded axes.seed=[0,1,2,3,4]
"""

from __future__ import annotations

import argparse
import threading

from rich.console import Console

from tl_robust.cli.commands.base import bench_arguments, load


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    bench_arguments(parser)
    parser.add_argument("--plain", action="store_true", help="lines instead of progress bars")
    parser.add_argument("--helper", action="store_true", help=argparse.SUPPRESS)


def run(parsed: argparse.Namespace, console: Console) -> int:
    """Run the command; returns the exit code."""
    from tl_robust.cli import session, views

    config = load(parsed)
    if parsed.helper:
        threading.Thread(target=session.end_with_parent, daemon=True).start()
        session.help_out(config)
        return 0
    finished = session.run(config, console, parsed.plain, [parsed.bench, *parsed.overrides])
    views.write(config, finished, console, publish=True)
    return 0
