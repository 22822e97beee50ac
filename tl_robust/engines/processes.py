"""Several processes of this machine on one store."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial

from typing_extensions import override

from tl_robust.engines.base import ENGINES, Engine, Failure, Job
from tl_robust.engines.loop import Loop
from tl_robust.engines.observer import Observer
from tl_robust.files import undone
from tl_robust.nodes.node import Node
from tl_robust.registry import load_plugins


@ENGINES.register
@dataclass(frozen=True)
class Processes(Engine):
    """Starts helpers beside this process, ``workers`` in all; the locks of the store share the work among them."""

    @override
    def run(self, job: Job, nodes: Sequence[Node], observer: Observer) -> dict[str, Failure]:
        loop = Loop(job, nodes, observer)
        absent = len(loop.absent)
        with _helpers(job, nodes, min(job.share, absent) - 1):
            return loop.run()


@contextmanager
def _helpers(job: Job, nodes: Sequence[Node], count: int) -> Iterator[None]:
    """Processes that compute the same nodes and end with this one."""
    command = [sys.executable, "-m", "tl_robust.engines.processes"]
    content = pickle.dumps(job) + pickle.dumps(list(nodes)) if count > 0 else b""
    with ExitStack() as stack:
        for _ in range(count):
            quiet = subprocess.DEVNULL
            process = subprocess.Popen(
                command,
                bufsize=0,  # so that closing the pipe of a helper that has died raises nothing
                stdin=subprocess.PIPE,
                stdout=quiet,
                stderr=quiet,
                process_group=0,  # of its own, so that what a helper starts ends with it
            )
            end = partial(_kill_group, process)
            stack.enter_context(process)  # closes the pipe and waits
            stack.enter_context(undone(end))
            stack.callback(end)
            # a pipe holds 64 kB, and a helper imports for seconds before it reads: this process does not wait for that
            threading.Thread(target=_feed, args=(process, content), daemon=True).start()
        yield


def _feed(process: subprocess.Popen[bytes], content: bytes) -> None:
    """Write to a helper, which may have died already: the others do its work."""
    assert process.stdin
    with suppress(OSError, ValueError):
        while content:
            content = content[process.stdin.write(content) :]


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a process that leads a group, and the group; nothing where it has ended and was waited for."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _help() -> None:
    """Compute what the process at the other end of the pipe computes, and end with it, however it ends."""
    job: Job = pickle.load(sys.stdin.buffer)
    for folder in job.plugins:  # before the nodes, which may be of a plugin's class
        load_plugins(folder)
    nodes: list[Node] = pickle.load(sys.stdin.buffer)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    Loop(job, nodes, Observer()).run()


def _end_with_parent() -> None:
    """End this process, and those it started, when the pipe from its parent closes."""
    sys.stdin.buffer.read()
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(1)


if __name__ == "__main__":
    from tl_robust.engines.processes import _help as helped  # under its own name, so that it is registered once

    helped()
