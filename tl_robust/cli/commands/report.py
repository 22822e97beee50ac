"""Write tables and report again from the store.

example: tl-robust report embedded --figure embedded.svg
"""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from tl_robust.cli.commands.base import bench_arguments, load
from tl_robust.errors import ConfigError, UnknownNameError


def arguments(parser: argparse.ArgumentParser) -> None:
    bench_arguments(parser)
    text = "also draw the curves into this .svg, .png or .pdf file, or as BENCH.svg into this folder"
    parser.add_argument("--figure", type=Path, help=text)
    parser.add_argument("--attack", help="draw the curves of this attack only, as tables name it")


def run(parsed: argparse.Namespace, console: Console) -> int:
    from tl_robust.cli import session, views
    from tl_robust.results import table
    from tl_robust.sinks.report import page as report

    config = load(parsed)
    if parsed.attack and not parsed.figure:
        raise ConfigError("--attack chooses the curves of a figure: give --figure FILE too.")
    finished = session.results(config)
    if figure := parsed.figure:
        figure = figure if figure.suffix else figure / f"{config.bench.name}.svg"
        rows = table.summary(finished.results)
        attacks = dict.fromkeys(row.cell.attack for row in rows)
        if parsed.attack and parsed.attack not in attacks:
            raise UnknownNameError("attack of this bench", parsed.attack, attacks)
        report.figure([row for row in rows if parsed.attack in (None, row.cell.attack)], figure)
    views.write(config, finished, console, publish=False)
    return 0
