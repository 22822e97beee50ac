"""Judge the claims of the literature on a bench's results.

example: tl-robust claims embedded --pairs
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from rich.console import Console

from tl_robust.cli.commands.base import bench_arguments, load


def arguments(parser: argparse.ArgumentParser) -> None:
    bench_arguments(parser)
    parser.add_argument("--pairs", action="store_true", help="the findings on each pair too")
    parser.add_argument("--json", action="store_true", help="print JSON, with the findings on each pair")


def run(parsed: argparse.Namespace, console: Console) -> int:
    from tl_robust import claims
    from tl_robust.cli import session
    from tl_robust.cli.terminal import claim_tables

    config = load(parsed)
    findings = claims.decide(session.results(config).results)
    if parsed.json:
        records = [asdict(finding).items() for finding in findings]
        plain = [{name: None if value != value else value for name, value in record} for record in records]  # NaN
        print(json.dumps(plain, indent=1))  # noqa: T201
        return 0
    if not findings:
        console.print("No claim speaks of what this bench measures.")
    for table in claim_tables([finding for finding in findings if parsed.pairs or not finding.pair]):
        console.print(table)
    return 0
