"""One run of a bench: its work, shared with the processes that help."""

from __future__ import annotations

from rich.console import Console

from tl_robust.bench import runner
from tl_robust.bench.runner import Finished
from tl_robust.bench.workers import Workers, default_workers
from tl_robust.cli.terminal import observer
from tl_robust.config import Config
from tl_robust.data.left_out import left_out
from tl_robust.errors import ConfigError
from tl_robust.nodes.store import Store
from tl_robust.sinks.wandb.session import resolve_mode


def run(config: Config, console: Console, plain: bool) -> Finished:
    """Compute what the store lacks, with progress, and gather the results.

    Args:
        config: The bench.
        console: Where to print.
        plain: Lines instead of progress bars.
    """
    plan, store = config.plan, Store(config.results / "store")
    counts = plan.counts(store)
    leaves = {node.KIND.title for node in plan.nodes if node.KIND.leaf}
    *works, last = (f"{count} {title}s" for title, count in plan.works.items() if title not in leaves)
    console.print(
        f"Bench {config.bench.name}: {counts['cells']} cells ({counts['done']} done) from {', '.join(works)} and "
        f"{last}; results in {config.results / config.bench.name}",
        soft_wrap=True,
    )
    for sentence in left_out(plan.sides):
        console.print(f"Left out: {sentence}", soft_wrap=True)
    resolve_mode(config.wandb)  # says now, not after an hour, that a key is missing
    share = 1
    if counts["done"] < counts["cells"]:
        items = len([node for node in plan.nodes if not node.KIND.leaf])
        workers = Workers(config.workers) if config.workers else default_workers(config.bench, items)
        share = workers.count
        if workers.why:
            console.print(workers.why, soft_wrap=True)
    with observer(console, plain) as watch:
        return runner.run(plan, config.bench, store, watch, config.engine, share)


def results(config: Config) -> Finished:
    """Gather the results whose entries are in the store; nothing is computed.

    Raises:
        ConfigError: It has none.
    """
    finished = runner.gather(config.plan, Store(config.results / "store"))
    if not finished.results:
        store = config.results / "store"
        raise ConfigError(
            f"no cell of bench {config.bench.name!r}, as its settings and data are now, is in {store}: run it first."
        )
    return finished
