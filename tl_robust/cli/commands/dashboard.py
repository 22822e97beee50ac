"""Show the Weights & Biases dashboard of a bench as JSON, or save it in the project.

example: tl-robust dashboard spec embedded
"""

from __future__ import annotations

import argparse
import json

from rich.console import Console

from tl_robust.cli.commands.base import bench_arguments, load


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("action", choices=("spec", "push"), help="spec: print it as JSON; push: save it in the project")
    bench_arguments(parser)


def run(parsed: argparse.Namespace, console: Console) -> int:
    """Run the command; returns the exit code."""
    from tl_robust.sinks.wandb import dashboard
    from tl_robust.sinks.wandb import workspace as wandb_dashboard
    from tl_robust.threats.base import THREATS

    config = load(parsed)
    axes = config.bench.axes
    places = (axes.pair, axes.network, axes.attack, axes.target_images)
    eps = sorted({size for attack in axes.attack for size in attack.x})
    several = any(len(axis) > 1 for axis in places)
    spec = dashboard.spec(config.bench.name, config.wandb, eps, axes.view, several, THREATS[axes.attack[0].threat].face)
    if parsed.action == "spec":
        print(json.dumps(spec, indent=2))  # noqa: T201
        return 0
    console.print(f"Dashboard: {wandb_dashboard.push(spec)}", soft_wrap=True)
    return 0
