"""The command line: parse, call, print."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from tl_robust.errors import BenchFailedError, ConfigError, TLRobustError, UnknownNameError

if TYPE_CHECKING:
    from tl_robust.bench.runner import Finished
    from tl_robust.config import Config

BENCHES = Path("experiments")
HELP = {
    "run": "run a bench: train, attack, judge, write tables and report",
    "plan": "show what would run and what is done",
    "report": "write tables and report again from the store",
    "list": "show every registered name",
    "check-pair": "check the data of a pair",
    "doctor": "show versions, devices, data and the state of the store",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        0: done; 1: some cells failed or a check did not pass; 2: bad input; 130: stopped by Ctrl-C.
    """
    parser = _parser()
    parsed, rest = parser.parse_known_args(arguments)
    if any(item.startswith("-") for item in rest) or (rest and not hasattr(parsed, "overrides")):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:  # overrides after an option: argparse stops collecting there
        parsed.overrides += rest
    for name in list(os.environ):  # Lightning would take these for its own cluster and log nothing
        if name.startswith("SLURM_") or name in ("RANK", "LOCAL_RANK", "WORLD_SIZE"):
            del os.environ[name]
    # no markup: names and messages may hold brackets
    console = Console(width=None if sys.stdout.isatty() else 120, markup=False, emoji=False, highlight=False)
    try:
        return int(COMMANDS[parsed.command](parsed, console))
    except TLRobustError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    except KeyboardInterrupt:
        again = " ".join(["tl-robust", *(arguments if arguments is not None else sys.argv[1:])])
        print(f"\nstopped: what was finished is kept; go on with: {again}", file=sys.stderr)  # noqa: T201
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tl-robust", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in HELP.items():
        command = commands.add_parser(name, help=text, description=text)
        if name in ("run", "plan", "report"):
            command.add_argument("bench", help=f"a YAML file, the name of one in {BENCHES}/, or auto")
        if name == "check-pair":
            command.add_argument("pair", help="source-target, or a registered pair")
            command.add_argument("--space", default="digits", help="space of the pair (digits)")
        if name == "doctor":
            command.add_argument("--results", default="results", help="folder of results (results)")
        elif name != "list":
            command.add_argument("overrides", nargs="*", metavar="key=value", help="for example data.root=../data")
        if name in ("plan", "list"):
            command.add_argument("--json", action="store_true", help="print JSON")
        if name == "report":
            command.add_argument("--figure", type=Path, help="also draw the curves into this .svg or .png file")
        if name == "run":
            command.add_argument("--plain", action="store_true", help="lines instead of progress bars")
            command.add_argument("--helper", action="store_true", help=argparse.SUPPRESS)
    return parser


def _load(parsed: argparse.Namespace) -> Config:
    from tl_robust.config import load

    if parsed.bench == "auto":
        import torch

        parsed.bench = "digits" if torch.cuda.is_available() else "embedded"
        why = "a CUDA device is present" if torch.cuda.is_available() else "no CUDA device is present"
        print(f"No bench was named: {parsed.bench}, since {why}.")  # noqa: T201
    path = Path(parsed.bench)
    if path.suffix not in (".yaml", ".yml"):
        known = {file.stem: file for file in BENCHES.glob("*.yaml")}
        if parsed.bench not in known:
            raise UnknownNameError(f"bench (a .yaml file, or a name in {BENCHES}/)", parsed.bench, known)
        path = known[parsed.bench]
    return load(path, parsed.overrides)


def _run(parsed: argparse.Namespace, console: Console) -> int:
    from tl_robust.bench import runner
    from tl_robust.bench.plan import make_plan
    from tl_robust.bench.store import Store
    from tl_robust.files import write_atomically
    from tl_robust.sinks.wandb_sink import resolve_mode
    from tl_robust.terminal import observer

    config = _load(parsed)
    plan, store = make_plan(config.bench), Store(config.results / "store")
    if parsed.helper:
        threading.Thread(target=_end_with_parent, daemon=True).start()
        runner.run(plan, config.bench, store)
        return 0
    counts = plan.counts(store)
    console.print(
        f"Bench {config.bench.name}: {counts['cells']} cells ({counts['done']} done) from {counts['trainings']} "
        f"trainings and {counts['craft_groups']} attacks; results in {config.results / config.bench.name}",
        soft_wrap=True,
    )
    resolve_mode(config.wandb)  # says now, not after an hour, that a key is missing
    write_atomically(config.results / config.bench.name / "config.yaml", config.text.encode())
    count = min(config.workers, len(plan.groups)) - 1 if counts["done"] < counts["cells"] else 0
    with _helpers(parsed, count), observer(console, parsed.plain) as watch:
        finished = runner.run(plan, config.bench, store, watch)
    return _write(config, finished, console, publish=True)


@contextmanager
def _helpers(parsed: argparse.Namespace, count: int) -> Iterator[None]:
    """Runs of the same bench beside this one: the store's locks share the work among them."""
    command = [sys.executable, "-m", "tl_robust.cli", "run", "--helper", parsed.bench, *parsed.overrides]
    with ExitStack() as stack:
        for _ in range(count):
            quiet = subprocess.DEVNULL
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet)
            stack.enter_context(process)  # closes the pipe and waits
            stack.callback(process.kill)
        yield


def _end_with_parent() -> None:
    """End this process when the pipe from its parent closes, however the parent ended."""
    sys.stdin.read()
    os._exit(1)


def _report(parsed: argparse.Namespace, console: Console) -> int:
    from tl_robust.bench import runner
    from tl_robust.bench.plan import make_plan
    from tl_robust.bench.store import Store
    from tl_robust.sinks import report, table

    config = _load(parsed)
    finished = runner.gather(make_plan(config.bench), Store(config.results / "store"))
    if not finished.results:
        raise ConfigError(f"no cell of bench {config.bench.name!r} is in {config.results / 'store'}: run it first.")
    if parsed.figure:
        report.figure(table.summary(finished.results), parsed.figure)
    return _write(config, finished, console, publish=False)


def _write(config: Config, finished: Finished, console: Console, publish: bool) -> int:
    """Write all views of the results and print the one-screen table."""
    from tl_robust.bench.provenance import commit, versions
    from tl_robust.files import write_atomically
    from tl_robust.seeding import digest
    from tl_robust.sinks import report, table, wandb_sink
    from tl_robust.terminal import accuracy_tables

    folder = config.results / config.bench.name
    summary = table.summary(finished.results)
    failures = [asdict(failure) for failure in finished.failures]
    table.write(folder / "table.csv", (row for result in finished.results for row in table.rows(result)), table.COLUMNS)
    table.write(folder / "summary.csv", summary, table.SUMMARY_COLUMNS)
    write_atomically(folder / "failures.json", json.dumps(failures, indent=1).encode())
    if publish:
        published = wandb_sink.publish(finished.results, config.settings, folder, config.wandb)
        console.print(f"Weights & Biases ({published.mode}): {published.folder}", soft_wrap=True)
        for problem in published.problems:
            console.print(f"warning: {problem}", style="yellow", soft_wrap=True)
    pages = [folder / "report.html", folder / "report.md"]
    shown = [config.text, failures, commit(), versions()["tl_robust"], [item.provenance for item in finished.results]]
    stamp = digest([shown, *((folder / name).read_text() for name in ("table.csv", "summary.csv"))]).encode()
    known = folder / ".report"  # what the pages were made of: a second run need not make them again
    current = known.is_file() and known.read_bytes() == stamp and all(page.is_file() for page in pages)
    if not (publish and current):
        report.write(folder, config.bench.name, finished.results, summary, config.text, failures)
        write_atomically(known, stamp)
    for part in accuracy_tables(summary):
        console.print(part)
    console.print(f"Report: {pages[0]}\nTables: {folder / 'table.csv'}, summary.csv", soft_wrap=True)
    if failures or finished.missing:
        for failure in finished.failures:
            console.print(f"failed: {failure.node}: {failure.cause}", style="red", soft_wrap=True)
        raise BenchFailedError(
            f"{len(finished.missing)} cells have no result; the first cause of each is in {folder / 'failures.json'}. "
            "The others are done and kept; the same command tries again."
        )
    return 0


def _plan(parsed: argparse.Namespace, console: Console) -> int:
    from tl_robust.bench.plan import make_plan
    from tl_robust.bench.store import Store

    config = _load(parsed)
    plan, store = make_plan(config.bench), Store(config.results / "store")
    counts = plan.counts(store)
    if parsed.json:
        print(json.dumps(counts))  # noqa: T201
        return 0
    table = Table(box=None, pad_edge=False)
    for title in ("done", "training", "images", "epochs", "key"):
        table.add_column(title, no_wrap=True)
    for training in plan.trainings:
        done = "yes" if store.has("weights", training.key) else ""
        images = str(len(training.data.images("train")))
        table.add_row(done, str(training), images, str(training.recipe.epochs), training.key[:12])
    console.print(table)
    console.print(
        f"{counts['cells']} cells, {counts['done']} done; {counts['trainings']} unique trainings; "
        f"{counts['craft_groups']} unique craft groups.",
    )
    return 0


def _list(parsed: argparse.Namespace, console: Console) -> int:
    from tl_robust.attacks import ATTACKS
    from tl_robust.data.domain import DOMAINS
    from tl_robust.data.pair import PAIRS
    from tl_robust.data.space import SPACES
    from tl_robust.metrics import METRICS
    from tl_robust.models import NETWORKS
    from tl_robust.registry import Registry
    from tl_robust.strategies import STRATEGIES
    from tl_robust.trust import CHECKS

    registries: list[Registry[Any]] = [ATTACKS, DOMAINS, METRICS, NETWORKS, PAIRS, SPACES, STRATEGIES, CHECKS]
    names = {registry.kind: registry.names() for registry in registries}
    if parsed.json:
        print(json.dumps(names))  # noqa: T201
        return 0
    table = Table(box=None, pad_edge=False, show_header=False)
    for kind, known in names.items():
        table.add_row(kind, ", ".join(known))
    console.print(table)
    return 0


def _check_pair(parsed: argparse.Namespace, console: Console) -> int:
    from tl_robust.config import load_data
    from tl_robust.data.check import check_pair
    from tl_robust.data.pair import get_pair

    pair = get_pair(parsed.pair, parsed.space)(load_data(parsed.overrides))
    sheet = check_pair(pair)
    table = Table(box=None, pad_edge=False, show_header=False)
    for line in sheet:
        table.add_row("ok" if line.passed else "FAILED", line.check, line.found)
    console.print(table)
    return 0 if all(line.passed for line in sheet) else 1


def _doctor(parsed: argparse.Namespace, console: Console) -> int:
    import torch

    from tl_robust.bench.provenance import commit, device_name, versions
    from tl_robust.bench.store import Store
    from tl_robust.sinks.wandb_sink import WandbSettings, resolve_mode

    devices = [torch.device("cuda", place) for place in range(torch.cuda.device_count())] or [torch.device("cpu")]
    store = Store(Path(parsed.results) / "store")
    damaged = [error for error in store.check() if error]
    facts = {
        "versions": ", ".join(f"{name} {version}" for name, version in versions().items()),
        "commit": commit() or "not a git checkout",
        "devices": ", ".join(map(device_name, devices)),
        "Weights & Biases": resolve_mode(WandbSettings()),
        f"store {store.root}": f"{sum(1 for _ in store.check())} entries, {len(damaged)} damaged",
    }
    table = Table(box=None, pad_edge=False, show_header=False)
    for fact, value in facts.items():
        table.add_row(fact, value)
    console.print(table)
    for error in damaged:
        console.print(f"damaged: {error}; the next run computes it again", soft_wrap=True)
    return 1 if damaged else 0


COMMANDS = {
    "run": _run,
    "plan": _plan,
    "report": _report,
    "list": _list,
    "check-pair": _check_pair,
    "doctor": _doctor,
}


if __name__ == "__main__":
    sys.exit(main())
