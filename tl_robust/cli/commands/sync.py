"""Check the offline Weights & Biases runs of a bench and upload them.

example: tl-robust sync embedded --check
"""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bench", help="a bench's folder of results, or its name in the folder of results")
    parser.add_argument("--check", action="store_true", help="only check: no account, no network")
    parser.add_argument("--results", default="results", type=Path, help="folder of results (results)")


def run(parsed: argparse.Namespace, console: Console) -> int:
    """Run the command; returns the exit code: 1 where a run is damaged or was not uploaded."""
    from tl_robust.sinks.wandb import sync as wandb_sync

    home = wandb_sync.home_of(parsed.bench, parsed.results)
    runs = wandb_sync.verify(home)
    damaged, before = [run for run in runs if run.problem], sum(run.uploaded for run in runs)
    whole = len(runs) - len(damaged)
    for run in damaged:
        console.print(f"damaged: {home / run.name} {run.problem}", style="red", soft_wrap=True)
    for run in runs:
        for sentence in run.limits:
            console.print(f"limit: {home / run.name} {sentence}.", style="yellow", soft_wrap=True)
    console.print(f"{home}: {len(runs)} offline runs, {whole} whole, {before} uploaded before.", soft_wrap=True)
    if parsed.check:
        return 1 if damaged else 0
    if before + len(damaged) < len(runs):
        console.print("Uploading; this may take minutes.")
    runs = wandb_sync.upload(home, runs)
    for run in runs:
        if run.problem and run not in damaged:
            console.print(f"failed: {run.name} {run.problem}", style="red", soft_wrap=True)
    console.print(f"{sum(run.uploaded for run in runs) - before} runs uploaded.")
    return 1 if any(run.problem for run in runs) else 0
