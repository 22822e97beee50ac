"""Show benches on Weights & Biases: a dashboard, a report with text, or a sweep over keys of a bench.

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

ACTIONS = (
    "spec: print the dashboard as JSON; push: save it; report: print a report as JSON, or save it with --push; "
    "sweep: print a W&B sweep over keys of one bench as YAML"
)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("spec", "push", "report", "sweep"), help=ACTIONS)
    what = "one or several benches, as `tl-robust run` takes them, and overrides for all of them"
    parser.add_argument("bench", nargs="+", metavar="BENCH|key=value", help=what)
    parser.add_argument("--threat", default="", help="show only this threat; all by itself")
    parser.add_argument("--push", action="store_true", help="save a report in the project; each time a new one")
    vary = "of a sweep: an axis, or a key with values; KEY, KEY=[VALUE,...], KEY=LOW..HIGH or KEY=log:LOW..HIGH"
    parser.add_argument("--vary", action="append", default=[], metavar="KEY[=VALUES]", help=vary)
    parser.add_argument(
        "--method", choices=("grid", "random", "bayes"), help="of a sweep; grid unless there is a range"
    )
    parser.add_argument("--metric", help="what a sweep optimizes; the headline of the first threat by itself")
    parser.add_argument("--trials", type=int, default=0, help="of a sweep, at most; 0 for no bound")
    parser.set_defaults(overrides=[])


def run(parsed: argparse.Namespace, console: Console) -> int:
    from tl_robust.cli.shown import defended, same_project, shown
    from tl_robust.errors import ConfigError
    from tl_robust.sinks.wandb import dashboard, published_report, workspace

    words = [*parsed.bench, *parsed.overrides]  # argparse puts what stands after an option there
    overrides, benches = ([item for item in words if ("=" in item) == wanted] for wanted in (True, False))
    if not benches:
        raise ConfigError("name a bench, for example `tl-robust dashboard spec embedded`.")
    if parsed.push and parsed.action != "report":
        raise ConfigError("--push saves a report: `tl-robust dashboard push BENCH` saves a dashboard.")
    if parsed.action != "sweep" and (parsed.vary or parsed.method or parsed.metric or parsed.trials):
        raise ConfigError("--vary, --method, --metric and --trials are of a sweep: `tl-robust dashboard sweep BENCH`.")
    configs = [load(argparse.Namespace(bench=name, overrides=list(overrides), json=True)) for name in benches]
    same_project(configs)
    parts, card = shown(configs, parsed.threat), defended(configs)
    if parsed.action == "report":
        text = _report(configs, parts, card)
        _out(text) if not parsed.push else console.print(f"Report: {published_report.push(text)}", soft_wrap=True)
        return 0
    if parsed.action == "sweep":
        print(_sweep(configs, benches, overrides, parsed), end="")  # noqa: T201
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


def _sweep(configs: Sequence[Config], benches: list[str], overrides: list[str], parsed: argparse.Namespace) -> str:
    """The file of a sweep, whose values the bench takes."""
    from tl_robust.cli.shown import shown
    from tl_robust.errors import ConfigError, UnknownNameError
    from tl_robust.sinks.wandb import sweep

    if len(configs) != 1:
        raise ConfigError(f"a sweep runs one bench, got {', '.join(benches)}.")
    (config,), (bench,) = configs, benches
    axes = {f"axes.{name}": values for name, values in config.settings["axes"].items() if values}
    parameters = [sweep.parameter(text, axes) for text in parsed.vary]
    for item in (item for each in parameters for item in each.tried):
        load(argparse.Namespace(bench=bench, overrides=[*overrides, item], json=True))  # says what is wrong with it
    known = sweep.metrics(shown([config], parsed.threat))
    metric = parsed.metric or next(iter(known))
    if metric not in known:
        raise UnknownNameError("metric of this bench", metric, known)
    method = parsed.method or ("grid" if all(each.values for each in parameters) else "random")
    made = sweep.spec(bench, config.wandb, parameters, (metric, known[metric]), method, parsed.trials, overrides)
    return sweep.text(made, bench)


def _out(content: dict[str, Any]) -> None:
    print(json.dumps(content, indent=2))  # noqa: T201
