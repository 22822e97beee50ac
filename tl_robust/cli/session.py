"""One run of a bench from start to views: helpers beside it, tables, report, Weights & Biases."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from tl_robust import claims
from tl_robust.bench import runner
from tl_robust.bench.runner import Finished
from tl_robust.bench.workers import Workers, default_workers
from tl_robust.claims import Finding
from tl_robust.cli.terminal import accuracy_tables, claim_line, observer
from tl_robust.config.load import Config
from tl_robust.data.left_out import left_out
from tl_robust.errors import BenchFailedError, ConfigError
from tl_robust.files import write_atomically
from tl_robust.nodes.crafting import OUTCOMES
from tl_robust.nodes.models import WEIGHTS
from tl_robust.nodes.provenance import commit, versions
from tl_robust.nodes.store import Store
from tl_robust.nodes.training import Training
from tl_robust.results import answer, earlier, table
from tl_robust.results.table import Row
from tl_robust.seeding import digest
from tl_robust.sinks.report import page as report
from tl_robust.sinks.wandb import overview as wandb_overview
from tl_robust.sinks.wandb import runs as wandb_sink
from tl_robust.sinks.wandb.grids import grids


def run(config: Config, console: Console, plain: bool) -> Finished:
    """Compute what the store lacks, with progress, and gather the results.

    Args:
        config: The bench.
        console: Where to print.
        plain: Lines instead of progress bars.
    """
    plan, store = config.plan, Store(config.results / "store")
    counts = plan.counts(store)
    console.print(
        f"Bench {config.bench.name}: {counts['cells']} cells ({counts['done']} done) from {counts['trainings']} "
        f"trainings and {counts['craft_groups']} attacks; results in {config.results / config.bench.name}",
        soft_wrap=True,
    )
    for sentence in left_out(plan.sides):
        console.print(f"Left out: {sentence}", soft_wrap=True)
    wandb_sink.resolve_mode(config.wandb)  # says now, not after an hour, that a key is missing
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
    """The results that the store has.

    Raises:
        ConfigError: It has none.
    """
    finished = runner.gather(config.plan, Store(config.results / "store"))
    if not finished.results:
        raise ConfigError(f"no cell of bench {config.bench.name!r} is in {config.results / 'store'}: run it first.")
    return finished


def write(config: Config, finished: Finished, console: Console, publish: bool) -> None:
    """Write all views of the results and print the one-screen tables.

    Args:
        config: The bench.
        finished: Its results.
        console: Where to print.
        publish: Weights & Biases too, and pages that are made already need not be made again.

    Raises:
        BenchFailedError: Some cells have no result.
    """
    folder = config.results / config.bench.name
    summary, findings = table.summary(finished.results), claims.decide(finished.results)
    if moved := earlier.keep(folder, config.text):
        console.print(moved, style="yellow", soft_wrap=True)
    failures = [asdict(failure) for failure in finished.failures]
    table.write(folder / "table.csv", (row for result in finished.results for row in table.rows(result)), table.COLUMNS)
    table.write(folder / "summary.csv", summary, table.SUMMARY_COLUMNS)
    write_atomically(folder / "failures.json", json.dumps(failures, indent=1).encode())
    _pages(config, finished, summary, findings, again=not publish)
    if publish:
        for problem in _publish(config, finished, summary, findings, console):
            console.print(f"warning: {problem}", style="yellow", soft_wrap=True)
    if total := sum(finished.seconds.values()):
        checks = finished.seconds["examinations"]
        console.print(f"Trust checks: {checks:.0f} s, {checks / total:.1%} of all computing.", soft_wrap=True)
    for part in accuracy_tables(summary):
        console.print(part)
    console.print(claim_line(findings), soft_wrap=True)
    for line in answer.lines(summary, findings, len(config.bench.axes.seed)):
        console.print(line, soft_wrap=True, markup=False)
    console.print(f"Report: {folder / 'report.html'}\nTables: {folder / 'table.csv'}, summary.csv", soft_wrap=True)
    if failures or finished.missing:
        for failure in finished.failures:
            console.print(f"failed: {failure.node}: {failure.cause}", style="red", soft_wrap=True)
        raise BenchFailedError(
            f"{len(finished.missing)} cells have no result; the first cause of each is in {folder / 'failures.json'}. "
            "The others are done and kept; the same command tries again."
        )


def _pages(config: Config, finished: Finished, summary: list[Row], findings: Sequence[Finding], again: bool) -> None:
    """The report, where it is not there yet or ``again`` is asked for."""
    folder = config.results / config.bench.name
    failures = [asdict(failure) for failure in finished.failures]
    made = [item.provenance for item in finished.results]
    shown: list[object] = [config.text, failures, commit(), versions()["tl_robust"], made, sorted(finished.pictures)]
    notes = [f"Left out: {sentence}" for sentence in left_out(config.plan.sides)]
    shown += [dict(finished.seconds), [str(one) for one in findings], notes]
    source = digest([shown, *((folder / name).read_text() for name in ("table.csv", "summary.csv"))])
    known = folder / ".report"  # what the pages were made of, and what they were: a second run need not make them again
    pages = folder / "report.html", folder / "report.md", folder / "curves.svg"
    if again or _content(known) != _stamp(source, pages):
        report.write(
            folder, config.bench.name, finished.results, summary, config.text, failures, findings,
            finished.pictures, finished.seconds, notes=notes, when=_date(config, finished),
        )  # fmt: skip
        if all(page.is_file() for page in pages):  # a figure that could not be drawn is tried again the next time
            write_atomically(known, _stamp(source, pages))


def _stamp(source: str, pages: Sequence[Path]) -> bytes:
    """Changes with what pages are made of, and with any damage to them."""
    hashes = [hashlib.sha256(content).hexdigest() for content in map(_content, pages) if content is not None]
    return digest([source, hashes]).encode()


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _date(config: Config, finished: Finished) -> str:
    """The day on which the last of the shown attacks was computed; a report that is made again has the same."""
    keys = {str(result.provenance["outcome"]) for result in finished.results if "outcome" in result.provenance}
    store = Store(config.results / "store")
    paths = [path for path in (store.file(OUTCOMES, key) for key in keys) if path.is_file()]
    times = [path.stat().st_mtime for path in paths]
    return time.strftime("%Y-%m-%d", time.localtime(max(times))) if times else ""


def _publish(
    config: Config, finished: Finished, summary: list[Row], findings: Sequence[Finding], console: Console
) -> Iterator[str]:
    """Runs of Weights & Biases, one a cell and the overview; yields what went wrong."""
    folder, store = config.results / config.bench.name, Store(config.results / "store")
    published = wandb_sink.publish(finished.results, config.settings, folder, config.wandb)
    console.print(f"Weights & Biases ({published.mode}): {published.folder}", soft_wrap=True)
    yield from published.problems
    models = {
        f"{model}, {model.network}": store.file(WEIGHTS, model.key)
        for model in config.plan.trainings
        if isinstance(model, Training)
    }
    pictures = grids(finished.results, finished.pictures)
    yield from wandb_overview.publish_overview(
        finished.results, summary, findings, config.settings, folder, config.wandb, folder / "report.html", pictures,
        models,
    ).problems  # fmt: skip
