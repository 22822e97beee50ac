"""Show what each defense of a bench does to all threats at once, beside the same model without it.

More benches may follow the first: what they say of the same pairs stands in the same table.
example: tl-robust card defenses defenses_backdoor defenses_membership --eps 32/255
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from tl_robust.cli.commands.base import bench_arguments, load
from tl_robust.errors import ConfigError

if TYPE_CHECKING:
    from tl_robust.types import Result


def arguments(parser: argparse.ArgumentParser) -> None:
    bench_arguments(parser)
    parser.add_argument("--eps", help="only this size of evasion, as in the bench (all, the middle one first)")
    parser.add_argument("--json", action="store_true", help="print card.json and write nothing")
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="where to (results/BENCH; its together/ for several)"
    )


def run(parsed: argparse.Namespace, console: Console) -> int:
    from tl_robust.cli import session
    from tl_robust.cli.card_tables import card_tables
    from tl_robust.results import card_file
    from tl_robust.results.card import cards
    from tl_robust.sinks.base import Views
    from tl_robust.sinks.report import card_page
    from tl_robust.sinks.report.sections import facts

    names = [parsed.bench, *(item for item in parsed.overrides if "=" not in item)]
    overrides = [item for item in parsed.overrides if "=" in item]
    configs = [load(argparse.Namespace(bench=name, overrides=overrides)) for name in names]
    results = [result for config in configs for result in session.results(config).results]
    made = cards(results, _size(parsed.eps, results))
    if not made:
        raise ConfigError(
            f"bench {', '.join(names)} has no defended cell: name some under axes.defense, such as [none, distill]."
        )
    if parsed.json:
        print(json.dumps(card_file.content(made, results), indent=1, allow_nan=False))  # noqa: T201
        return 0
    own = configs[0].results / configs[0].bench.name  # what `run` writes there is of this bench alone
    folder = parsed.out or (own / "together" if len(configs) > 1 else own)
    benches = ", ".join(config.bench.name for config in configs)
    card_page.write(made, folder / "card.html", [facts(Views(folder, benches, results, ()))])
    card_file.write(folder / "card.json", made, results)
    for item in card_tables(made):
        console.print(item)
    console.print(f"Defense card: {folder / 'card.html'}, card.json", soft_wrap=True)
    return 0


def _size(text: str | None, results: Sequence[Result[Any]]) -> float | None:
    """The size of evasion that was asked for, as the results have it."""
    from tl_robust.config.entries import parse_number
    from tl_robust.errors import UnknownNameError
    from tl_robust.results.card import sizes
    from tl_robust.text import eps_text

    if text is None:
        return None
    known, wanted = sizes(results), parse_number(text, "--eps")
    if (found := next((size for size in known if math.isclose(size, wanted, rel_tol=1e-6)), None)) is None:
        raise UnknownNameError("eps of these benches", text, [eps_text(size) for size in known])
    return found
