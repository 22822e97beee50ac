"""Show what of a bench is done, running (where, since when) and failed, from any machine that sees the store.

example: tl-robust status embedded --json
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

from rich.console import Console
from rich.table import Table

from tl_robust.cli.commands.base import bench_arguments, load


def arguments(parser: argparse.ArgumentParser) -> None:
    bench_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(parsed: argparse.Namespace, console: Console) -> int:
    from tl_robust.nodes.store import Store

    config = load(parsed)
    nodes, store = config.plan.nodes, Store(config.results / "store")
    keys = {node.key for node in nodes}
    running, failed = (
        {key: fields for key, fields in marks.items() if key in keys}
        for marks in (store.marks("running"), store.marks("failed"))
    )
    stages: dict[str, dict[str, int]] = {}
    for node in nodes:
        counts = stages.setdefault(f"{node.KIND.title}s", {"done": 0, "running": 0, "failed": 0, "left": 0})
        done = all(store.has(node.KIND, key) for key in node.entries)
        known = "running" if node.key in running else "failed" if node.key in failed else "left"
        counts["done" if done else known] += 1
    if parsed.json:
        facts = {"stages": stages, "running": list(running.values()), "failed": list(failed.values())}
        print(json.dumps(facts))  # noqa: T201
        return 0
    table = Table("", "done", "running", "failed", "left", box=None, pad_edge=False)
    for stage, counts in stages.items():
        table.add_row(stage, *map(str, counts.values()))
    console.print(table)
    for mark in running.values():
        console.print(f"running: {mark['title']} on {mark['host']} (process {mark['pid']}) since {_when(mark)}")
    for mark in failed.values():
        console.print(f"failed: {mark['title']} on {mark['host']} at {_when(mark)}: {mark['cause']}", style="red")
    return 0


def _when(mark: dict[str, Any]) -> str:
    """Time of a mark, and how long ago it was."""
    minutes = max(0.0, time.time() - mark["time"]) / 60
    return f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(mark['time']))} ({minutes:.0f} minutes ago)"
