"""Run a bench under the profiles kdd20 and default and show the differences.

example: tl-robust profiles embedded axes.seed=[0]
"""

from __future__ import annotations

import argparse

from rich.console import Console

from tl_robust.cli.commands.base import bench_arguments, load, name_bench


def arguments(parser: argparse.ArgumentParser) -> None:
    bench_arguments(parser)
    parser.add_argument("--plain", action="store_true", help="lines instead of progress bars")


def run(parsed: argparse.Namespace, console: Console) -> int:
    from tl_robust.cli import session, views
    from tl_robust.results.difference import Side, compare, tables
    from tl_robust.results.faces import FACES

    name_bench(parsed)
    overrides, sides = parsed.overrides, []
    for profile in ("kdd20", "default"):
        parsed.overrides = [*overrides, f"profile={profile}"]
        parsed.overrides.append(f"name={load(parsed).bench.name}.{profile}")
        config = load(parsed)
        finished = session.run(config, console, parsed.plain)
        views.write(config, finished, console, publish=False)
        sides.append(Side.of_results(profile, finished.results, config.settings))
    comparison = compare(sides[0], sides[1], [face.headline for face in FACES.values()])
    for table in tables(comparison, comparison.numbers):
        console.print(table)
    return 0
