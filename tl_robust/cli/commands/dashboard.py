"""Show the Weights & Biases dashboard of a bench as JSON, or save it in the project.

example: tl-robust dashboard spec embedded
"""

from __future__ import annotations

import argparse
import json

from rich.console import Console

from tl_robust.cli.commands.base import bench_arguments, load
from tl_robust.errors import UnknownNameError


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("spec", "push"), help="spec: print it as JSON; push: save it in the project")
    bench_arguments(parser)
    parser.add_argument("--threat", help="of a bench with several; by itself that of its first attack")


def run(parsed: argparse.Namespace, console: Console) -> int:
    from tl_robust.sinks.wandb import dashboard
    from tl_robust.sinks.wandb import workspace as wandb_dashboard
    from tl_robust.threats.base import THREATS
    from tl_robust.types import Outcome

    config = load(parsed)
    axes = config.bench.axes
    threats = list(dict.fromkeys(method.threat for method in axes.attack))
    threat = parsed.threat or threats[0]
    if threat not in threats:
        raise UnknownNameError("threat of this bench", threat, threats)
    methods = [method for method in axes.attack if method.threat == threat]
    grid = sorted({x for method in methods for x in method.x})
    several = any(len(axis) > 1 for axis in (axes.pair, axes.network, methods, axes.target_images))
    views = [view for method in methods for view in ([method.view] if method.view else axes.view)]
    crafted = issubclass(THREATS[threat].record, Outcome)
    defended = any(defense is not None for defense in axes.defense)
    face = THREATS[threat].face
    spec = dashboard.spec(config.bench.name, config.wandb, grid, views, several, face, crafted, defended)
    if parsed.action == "spec":
        print(json.dumps(spec, indent=2))  # noqa: T201
        return 0
    console.print(f"Dashboard: {wandb_dashboard.push(spec)}", soft_wrap=True)
    return 0
