"""Show every registered name."""

from __future__ import annotations

import argparse
import json
from typing import Any

from rich.console import Console
from rich.table import Table


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(parsed: argparse.Namespace, console: Console) -> int:
    """Run the command; returns the exit code."""
    from tl_robust.attacks import ATTACKS
    from tl_robust.attacks.objectives import OBJECTIVES
    from tl_robust.attacks.rules import RULES
    from tl_robust.attacks.tricks import TRICKS
    from tl_robust.claims import CLAIMS
    from tl_robust.data.domain import DOMAINS
    from tl_robust.data.pair import PAIRS
    from tl_robust.data.space import SPACES
    from tl_robust.metrics import METRICS
    from tl_robust.models import NETWORKS
    from tl_robust.registry import Registry
    from tl_robust.strategies import STRATEGIES
    from tl_robust.trust import CHECKS

    registries: list[Registry[Any]] = [
        ATTACKS, OBJECTIVES, RULES, TRICKS, CLAIMS, DOMAINS, METRICS, NETWORKS, PAIRS, SPACES, STRATEGIES, CHECKS
    ]  # fmt: skip
    names = {registry.kind: registry.names() for registry in registries}
    if parsed.json:
        print(json.dumps(names))  # noqa: T201
        return 0
    table = Table(box=None, pad_edge=False, show_header=False)
    for kind, known in names.items():
        table.add_row(kind, ", ".join(known))
    console.print(table)
    return 0
