"""Show what would run and what is done.

example: tl-robust plan embedded axes.seed=[0]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from tl_robust.cli.commands.base import bench_arguments, load

if TYPE_CHECKING:
    from tl_robust.metrics.precision import Assumed, Forecast

SHARES = (0.5, 0.9)


def arguments(parser: argparse.ArgumentParser) -> None:
    bench_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--precision", action="store_true", help="how wide intervals will be, what would be found")
    parser.add_argument(
        "--seed-sd",
        type=float,
        default=0.02,
        help="spread of an accuracy over seeds (0.02; 0.1 and more of a backdoor that half survives)",
    )
    parser.add_argument("--correlation", type=float, default=0.5, help="of two models' hits on an image (0.5)")


def run(parsed: argparse.Namespace, console: Console) -> int:
    from tl_robust.data.left_out import left_out
    from tl_robust.nodes.store import Store

    assumed = None
    if parsed.precision:  # only then is the module of forecasts imported
        from tl_robust.metrics.precision import Assumed

        assumed = Assumed(parsed.seed_sd, parsed.correlation)
    config = load(parsed)
    plan, store = config.plan, Store(config.results / "store")
    counts = plan.counts(store)
    tests = list(dict.fromkeys((cell.cell.target, len(cell.scene.test.images("test"))) for cell in plan.cells))
    seeds = len(config.bench.axes.seed)
    if parsed.json:
        more = {"precision": _facts(tests, seeds, assumed)} if assumed else {}
        print(json.dumps(counts | {"nodes": plan.works, "left_out": left_out(plan.sides)} | more))  # noqa: T201
        return 0
    if assumed:
        for block in _precision(tests, seeds, assumed):
            console.print(block, soft_wrap=isinstance(block, str))
        return 0
    table = Table(box=None, pad_edge=False)
    for title in ("done", "training", "classes", "images", "epochs", "key"):
        table.add_column(title, no_wrap=title != "training", overflow="fold")
    for model in plan.trainings:
        there = all(store.has(address.kind, address.key) for address in model.addresses)
        origin = model.origin()
        images, epochs = (str(origin.get(name, "-")) for name in ("images", "epochs"))
        table.add_row("yes" if there else "", str(model), f"{len(model.labels)}", images, epochs, model.key[:12])
    console.print(table)
    works = "; ".join(f"{count} {title}s" for title, count in plan.works.items())
    console.print(f"{counts['cells']} cells, {counts['done']} done; each once: {works}.", soft_wrap=True)
    for sentence in left_out(plan.sides):
        console.print(f"Left out: {sentence}", soft_wrap=True)
    return 0


def _facts(tests: Sequence[tuple[str, int]], seeds: int, assumed: Assumed) -> dict[str, Any]:
    """The forecast as JSON."""
    from tl_robust.metrics.precision import forecast

    expected = [
        {"target": target} | asdict(forecast(images, seeds, share, assumed))
        for target, images in tests
        for share in SHARES
    ]
    return {"assumed": asdict(assumed), "accuracies": expected}


def _precision(tests: Sequence[tuple[str, int]], seeds: int, assumed: Assumed) -> Iterator[Table | str]:
    """The forecast for a reader: a table, with what more seeds or images would buy, and what was assumed."""
    from tl_robust.metrics.precision import forecast

    table = Table(
        title="95 % intervals to expect, plus or minus, in points of accuracy, or of another share of all test images",
        title_justify="left",
        box=None,
        pad_edge=False,
    )
    for name in (
        "target",
        "test images",
        "seeds",
        "accuracy %",
        "one cell",
        "mean over seeds",
        "difference",
        "found from",
    ):
        table.add_column(name, justify="left" if name == "target" else "right", no_wrap=True)
    for target, images in tests:
        for share in SHARES:
            for size in ((images, seeds), (images, 2 * seeds), (2 * images, seeds)):
                table.add_row(target, *_points(forecast(*size, share, assumed)))
    yield table
    yield (
        "Rows two and three of each accuracy: with twice the seeds, with twice the images. difference: of two "
        "strategies on the same images and seeds. found from: the interval of a difference of this size excludes 0 in "
        "80 of 100 runs."
    )
    yield (
        f"Assumed: seeds differ by {100 * assumed.seed_sd:.1f} points (--seed-sd {assumed.seed_sd:g}; more where a "
        f"curve is steep), and hits of two models on an image have correlation {assumed.correlation:g} (--correlation)."
    )
    yield (
        "A share of some of the test images, such as those of all classes but an attacker's, is as sure as one of so "
        "many images."
    )
    if seeds == 1:
        yield (
            "With 1 seed nothing can be said of other seeds: intervals and differences speak of these trainings alone. "
            "axes.seed=[0,1,2] are the fewest to learn from."
        )


def _points(expected: Forecast) -> Iterator[str]:
    """Columns of a forecast."""
    yield from (f"{expected.images:,}", f"{expected.seeds}", f"{100 * expected.share:.0f}")
    mean = expected.mean.half if expected.mean else None
    for share in (expected.cell, mean, expected.difference.half, expected.difference.detectable):
        yield "-" if share is None else f"{100 * share:.1f}"
