"""What runs on the machines of a Ray cluster: a task computes one node; the hub hears of its progress."""

from __future__ import annotations

import os
import pickle
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from typing_extensions import override

from tl_robust.engines.base import Job
from tl_robust.engines.loop import WAIT_SECONDS, Loop
from tl_robust.engines.observer import Observer
from tl_robust.errors import ConfigError, InputError, ResultsError, StoreError
from tl_robust.nodes.node import Node
from tl_robust.nodes.provenance import versions
from tl_robust.registry import load_plugins

TELL_SECONDS = 0.5  # between two messages about progress
TRACE = 10_000  # characters of a traceback that travel; with many more a message would go through Ray's object store


@dataclass(frozen=True)
class Machine:
    """What a machine must have before it can compute.

    Attributes:
        job: Has the folders of the store and of plugins.
        folder: Working folder of the command, where relative paths of data start.
        mark: A folder in the store that only this run has made.
        versions: Of everything that can move a number.
    """

    job: Job
    folder: Path
    mark: Path
    versions: Mapping[str, str]

    def enter(self) -> None:
        """Make this process like that of the command.

        Raises:
            InputError: This machine lacks something.
        """
        torch.set_num_threads(1)  # a worker keeps the number that the task before has left
        if not os.access(self.mark, os.W_OK):
            raise ResultsError(
                f"the store {self.job.store} is not there, or cannot be written: results= must be a folder that all "
                "machines see under the same path."
            )
        if not os.access(self.folder, os.X_OK):
            raise ConfigError(
                f"the working folder {self.folder} is not there: start the command in a folder that all machines see "
                "under the same path."
            )
        os.chdir(self.folder)
        mine = versions()
        if other := [
            f"{name} {mine.get(name)}" for name, version in self.versions.items() if mine.get(name) != version
        ]:
            raise ConfigError(f"it has {', '.join(other)}, the machine that started the run has another version.")
        for folder in self.job.plugins:
            load_plugins(folder)


class _Teller(Observer):
    """Sends the progress of a task while it runs, and keeps the rest for its end.

    Args:
        tell: Sends how much of the node is done.
    """

    def __init__(self, tell: Callable[[int], object]) -> None:
        self.said: list[tuple[str, tuple[Any, ...]]] = []
        self._tell, self._done, self._next = tell, 0, 0.0
        for name in ("end", "drop", "warn"):
            setattr(self, name, partial(self._keep, name))

    def _keep(self, name: str, *arguments: Any) -> None:
        self.said.append((name, arguments))

    @override
    def begin(self, stage: str, label: str) -> None:
        self._tell(0)

    @override
    def advance(self, stage: str, work: int) -> None:
        self._done += work
        if time.monotonic() >= self._next:
            self._tell(self._done)
            self._next = time.monotonic() + TELL_SECONDS


class _TaskLoop(Loop):
    """Leaves to Ray what another machine, or the same one in a moment, may well be able to do."""

    RAISED = (InputError, OSError, StoreError)

    def __init__(self, job: Job, nodes: Sequence[Node], observer: Observer) -> None:
        super().__init__(job, nodes, observer)
        self._damaged.update(key for node in nodes for key in node.entries)  # the command has said which are damaged


def compute(machine: bytes, node: bytes, failed: bytes, hub: Any, *parents: bytes) -> bytes:
    """Compute a node in a task.

    Args:
        machine: A :class:`Machine`, pickled as all that comes and goes.
        node: The node; empty to see only whether this machine can be used.
        failed: Failures of what the node needs that were known when the task was submitted.
        hub: Hears of progress.
        parents: What the tasks that this one waited for have returned.

    Returns:
        Calls of the observer that the command is to make, failures by the key of an entry, and why the run cannot go
        on, empty if it can.

    Raises:
        OSError: Worth another try.
    """
    here: Machine = pickle.loads(machine)
    try:
        here.enter()
        if not node:
            return pickle.dumps(((), {}, ""))
        todo: Node = pickle.loads(node)
        teller = _Teller(lambda work: hub.tell.remote(todo.key, work))
        loop = _TaskLoop(here.job, [todo], teller)
        for failures in (pickle.loads(failed), *(pickle.loads(parent)[1] for parent in parents)):
            loop.failures.update(failures)
        while not loop.settle(todo):
            time.sleep(WAIT_SECONDS)
    except InputError as error:
        return pickle.dumps(((), {}, f"on machine {platform.node()}: {error}"))
    except StoreError as error:  # a file that is not seen yet, or not at the moment
        raise OSError(str(error)) from error
    own = {key: loop.failures[key] for key in todo.entries if key in loop.failures}
    return pickle.dumps((teller.said, {key: replace(one, trace=one.trace[-TRACE:]) for key, one in own.items()}, ""))


def travelling() -> tuple[Callable[..., bytes], type]:
    """What runs in a task, and the hub. Made here they travel as code, and no module is imported before they run."""

    def task(*arguments: Any) -> bytes:
        import os

        for name in list(os.environ):  # Lightning reads these when it is imported
            if name.startswith("SLURM_") or name in ("RANK", "LOCAL_RANK", "WORLD_SIZE"):
                del os.environ[name]
        from tl_robust.engines import ray_task

        return ray_task.compute(*arguments)

    class Hub:
        def __init__(self) -> None:
            self._work: dict[str, int] = {}

        def tell(self, key: str, work: int) -> None:
            self._work[key] = work

        def take(self) -> dict[str, int]:
            work, self._work = self._work, {}
            return work

    return task, Hub
