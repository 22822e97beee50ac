"""Show versions, devices, data and the state of the store.

example: tl-robust doctor --results results
"""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console
from rich.table import Table


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--results", default="results", help="folder of results (results)")


def run(parsed: argparse.Namespace, console: Console) -> int:
    import torch

    from tl_robust.nodes.provenance import commit, device_name, versions
    from tl_robust.nodes.store import Store
    from tl_robust.sinks.wandb.runs import WandbSettings, resolve_mode
    from tl_robust.threats.base import THREATS

    devices = [torch.device("cuda", place) for place in range(torch.cuda.device_count())] or [torch.device("cpu")]
    THREATS.names()  # imports all threats, and with them all kinds of entries that the check looks for
    store = Store(Path(parsed.results) / "store")
    states = list(store.check())
    damaged = [error for error in states if error]
    facts = {
        "versions": ", ".join(f"{name} {version}" for name, version in versions().items()),
        "commit": commit() or "not a git checkout",
        "devices": ", ".join(map(device_name, devices)),
        "Weights & Biases": resolve_mode(WandbSettings()),
        f"store {store.root}": f"{len(states)} entries, {len(damaged)} damaged",
    }
    table = Table(box=None, pad_edge=False, show_header=False)
    for fact, value in facts.items():
        table.add_row(fact, value)
    console.print(table)
    for error in damaged:
        console.print(f"damaged: {error}; the next run computes it again", soft_wrap=True)
    return 1 if damaged else 0
