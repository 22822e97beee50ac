"""Show benches on Weights & Biases: a dashboard, a report with text, or a sweep over their axes.

example: tl-robust dashboard spec embedded
"""

from __future__ import annotations

import argparse
import json

from rich.console import Console

from tl_robust.cli.commands.base import load

ACTIONS = "spec: print the dashboard as JSON; push: save it in the project"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("spec", "push"), help=ACTIONS)
    what = "one or several benches, as `tl-robust run` takes them, and overrides for all of them"
    parser.add_argument("bench", nargs="+", metavar="BENCH|key=value", help=what)
    parser.add_argument("--threat", default="", help="show only this threat; all by itself")
    parser.set_defaults(overrides=[])


def run(parsed: argparse.Namespace, console: Console) -> int:
    from tl_robust.cli.shown import defended, same_project, shown
    from tl_robust.errors import ConfigError
    from tl_robust.sinks.wandb import dashboard, workspace

    overrides = [item for item in parsed.bench if "=" in item]
    benches = [item for item in parsed.bench if "=" not in item]
    if not benches:
        raise ConfigError("name a bench, for example `tl-robust dashboard spec embedded`.")
    configs = [load(argparse.Namespace(bench=name, overrides=list(overrides), json=True)) for name in benches]
    same_project(configs)
    names, parts = [config.bench.name for config in configs], shown(configs, parsed.threat)
    spec = dashboard.spec(names, configs[0].wandb, parts, defended(configs), parsed.threat)
    if parsed.action == "spec":
        print(json.dumps(spec, indent=2))  # noqa: T201
        return 0
    console.print(f"Dashboard: {workspace.push(spec)}", soft_wrap=True)
    return 0
