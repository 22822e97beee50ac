"""One run of a bench: its work, shared with the processes that help."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial

from rich.console import Console

from tl_robust.bench import runner
from tl_robust.bench.runner import Finished
from tl_robust.bench.store import Store
from tl_robust.bench.workers import Workers, default_workers
from tl_robust.cli.terminal import observer
from tl_robust.config.load import Config
from tl_robust.data.left_out import left_out
from tl_robust.errors import ConfigError
from tl_robust.files import undone
from tl_robust.sinks.wandb.session import resolve_mode


def run(config: Config, console: Console, plain: bool, arguments: Sequence[str]) -> Finished:
    """Compute what the store lacks, with progress, and gather the results.

    Args:
        config: The bench.
        console: Where to print.
        plain: Lines instead of progress bars.
        arguments: Bench and overrides as on the command line, for the processes that help.
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
    resolve_mode(config.wandb)  # says now, not after an hour, that a key is missing
    count = 0
    if counts["done"] < counts["cells"]:
        workers = Workers(config.workers) if config.workers else default_workers(config.bench, len(plan.groups))
        count = min(workers.count, len(plan.groups)) - 1
        if workers.why:
            console.print(workers.why, soft_wrap=True)
    with _helpers(arguments, count), observer(console, plain) as watch:
        return runner.run(plan, config.bench, store, watch)


def results(config: Config) -> Finished:
    """The results that the store has.

    Raises:
        ConfigError: It has none.
    """
    finished = runner.gather(config.plan, Store(config.results / "store"))
    if not finished.results:
        raise ConfigError(f"no cell of bench {config.bench.name!r} is in {config.results / 'store'}: run it first.")
    return finished


def help_out(config: Config) -> None:
    """Compute beside another process, and end with it."""
    runner.run(config.plan, config.bench, Store(config.results / "store"))


@contextmanager
def _helpers(arguments: Sequence[str], count: int) -> Iterator[None]:
    """Runs of the same bench beside this one: the store's locks share the work among them."""
    command = [sys.executable, "-m", "tl_robust.cli", "run", "--helper", *arguments]
    with ExitStack() as stack:
        for _ in range(count):
            quiet = subprocess.DEVNULL
            # a group of its own, so that what a helper starts ends with it
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet, process_group=0)
            end = partial(_kill_group, process)
            stack.enter_context(process)  # closes the pipe and waits
            stack.enter_context(undone(end))
            stack.callback(end)
        yield


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a process that leads a group, and the group; nothing where it has ended and was waited for."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def end_with_parent() -> None:
    """End this process, and those it started, when the pipe from its parent closes, however the parent ended."""
    sys.stdin.read()
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(1)
