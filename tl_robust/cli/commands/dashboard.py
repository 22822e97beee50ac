"""Show benches on Weights & Biases: a dashboard, or a report with text and panels.

example: tl-robust dashboard spec embedded
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console

from tl_robust.cli.commands.base import load

if TYPE_CHECKING:
    from tl_robust.config import Config

ACTIONS = "spec: print the dashboard as JSON; push: save it; report: print a report as JSON, or save it with --push"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("spec", "push", "report"), help=ACTIONS)
    what = "one or several benches, as `tl-robust run` takes them, and overrides for all of them"
    parser.add_argument("bench", nargs="+", metavar="BENCH|key=value", help=what)
    parser.add_argument("--threat", default="", help="show only this threat; all by itself")
    parser.add_argument("--push", action="store_true", help="save a report in the project; each time a new one")
    parser.set_defaults(overrides=[])


def run(parsed: argparse.Namespace, console: Console) -> int:
    from tl_robust.cli.shown import defended, same_project, shown
    from tl_robust.errors import ConfigError
    from tl_robust.sinks.wandb import dashboard, published_report, workspace

    overrides = [item for item in parsed.bench if "=" in item]
    benches = [item for item in parsed.bench if "=" not in item]
    if not benches:
        raise ConfigError("name a bench, for example `tl-robust dashboard spec embedded`.")
    if parsed.push and parsed.action != "report":
        raise ConfigError("--push saves a report: `tl-robust dashboard push BENCH` saves a dashboard.")
    configs = [load(argparse.Namespace(bench=name, overrides=list(overrides), json=True)) for name in benches]
    same_project(configs)
    parts, card = shown(configs, parsed.threat), defended(configs)
    if parsed.action == "report":
        text = _report(configs, parts, card)
        _out(text) if not parsed.push else console.print(f"Report: {published_report.push(text)}", soft_wrap=True)
        return 0
    spec = dashboard.spec([config.bench.name for config in configs], configs[0].wandb, parts, card, parsed.threat)
    if parsed.action == "spec":
        _out(spec)
    else:
        console.print(f"Dashboard: {workspace.push(spec)}", soft_wrap=True)
    return 0


def _report(configs: Sequence[Config], parts: Sequence[Any], card: bool) -> dict[str, Any]:
    """The report of what is in the store; nothing is computed."""
    from tl_robust.cli import session, views
    from tl_robust.sinks.wandb import report

    known = [views.views_of(config, session.results(config), publish=False) for config in configs]
    return report.spec(known, configs[0].wandb, parts, card)


def _out(content: dict[str, Any]) -> None:
    print(json.dumps(content, indent=2))  # noqa: T201
