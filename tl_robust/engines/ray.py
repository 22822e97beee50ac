"""A Ray cluster: a node is a task, what it needs are references to other tasks, and the store is a folder that all see.

Failures and seconds are all that travels between machines, a few hundred bytes a node: models and outcomes go through
the store. What Ray hands to a task is bytes, which are read only after the task has cleared its environment of what
Lightning would take for a cluster of its own, and has loaded the plugins.
"""

from __future__ import annotations

import math
import os
import pickle
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from typing_extensions import override

from tl_robust.engines.base import ENGINES, Engine, Failure, Job
from tl_robust.engines.loop import WAIT_SECONDS, Loop
from tl_robust.engines.observer import Observer
from tl_robust.engines.ray_task import Machine, travelling
from tl_robust.errors import BenchFailedError, ConfigError, InputError, ResultsError
from tl_robust.files import scratch_folder
from tl_robust.nodes.node import Node
from tl_robust.nodes.provenance import versions

RETRIES = 3  # of a node whose worker or machine is lost, or whose files could not be reached for a moment
REACH_SECONDS = 10  # for a cluster to answer; Ray by itself waits for minutes, and then ends the process
HEAD_SECONDS = 40  # for a head that does not answer to come back; after 60 Ray ends the process without a word to us
OBJECTS = 80 * 2**20  # bytes of Ray's object store, near the least that it takes: nothing is put there


@ENGINES.register
@dataclass(frozen=True)
class Ray(Engine):
    """Starts Ray on this machine, or joins a cluster whose machines all see the working folder and the store.

    Attributes:
        address: ``auto`` or ``host:port`` of a cluster that this machine belongs to. Empty: Ray is started here for
            the time of the run, and on a CPU computes as many nodes at a time as ``workers`` says.
        cpus: CPU cores that a node takes.
        gpus: GPUs that a node takes, a fraction where several share one. By itself, and where the cluster has GPUs: as
            many share one as fit the GPU of this machine; where this machine has none, each node takes a whole one.
    """

    address: str = ""
    cpus: float = 1.0
    gpus: float | None = None

    def __post_init__(self) -> None:
        if self.cpus <= 0 or (self.gpus or 0) < 0:
            raise ConfigError(f"engine.cpus must be above 0 and engine.gpus at least 0, got {self.cpus}, {self.gpus}.")

    @override
    def run(self, job: Job, nodes: Sequence[Node], observer: Observer) -> dict[str, Failure]:
        loop = Loop(job, nodes, observer)
        if loop.absent:
            with _connected(self, job) as ray, _marked(job.store) as mark:
                machine = Machine(job, Path.cwd(), mark, versions())
                _Tasks(ray, machine, self.cpus, self._gpus(ray, job), loop, observer).run()
        return loop.failures

    def _gpus(self, ray: Any, job: Job) -> float:
        """GPUs that a node takes."""
        if self.gpus is not None:
            return self.gpus
        if job.options.get("accelerator") == "cpu" or not ray.cluster_resources().get("GPU"):
            return 0.0
        devices = job.options.get("devices", 1)
        if isinstance(devices, int) and devices > 1:
            return float(devices)
        return 1 / job.share if torch.cuda.is_available() else 1.0


class _Tasks:
    """The tasks of one run, and what becomes of them.

    Args:
        ray: The library, connected to a cluster.
        machine: What the machines must have.
        cpus: CPU cores that a node takes.
        gpus: GPUs that a node takes.
        loop: Knows what is absent, and is told of failures.
        observer: Hears of progress.
    """

    def __init__(self, ray: Any, machine: Machine, cpus: float, gpus: float, loop: Loop, observer: Observer) -> None:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as Place

        self._ray, self._loop, self._observer = ray, loop, observer
        self._machine, self._size = pickle.dumps(machine), {"CPU": cpus, "GPU": gpus}
        self._on = partial(Place, soft=False)  # a machine, and no other
        task, hub = travelling()
        again = {"max_retries": RETRIES, "retry_exceptions": [OSError]}
        self._task = ray.remote(num_cpus=cpus, num_gpus=gpus, **again)(task)
        here = ray.get_runtime_context()
        self._head, self._seen = here.gcs_address, time.monotonic()
        self._hub = ray.remote(num_cpus=0, scheduling_strategy=self._on(here.get_node_id()))(hub).remote()
        self._news = self._hub.take.remote()
        self._makers = {key: node.key for node in loop.absent for key in node.entries}
        self._tasks: dict[Any, tuple[Node | str, set[str]]] = {}  # node, or name of a machine, and keys of parents
        self._references: dict[str, Any] = {}  # of tasks that were not lost, by key of node
        self._shown: dict[str, int] = {}  # work that the observer knows of, by key of node

    def run(self) -> None:
        """Submit all nodes, and see to it that each is computed or has failed.

        Raises:
            InputError: A machine of the cluster cannot be used, or a node says that no other can be computed either.
        """
        self._look()
        for node in _ordered(self._loop.absent):
            self._submit(node)
        while self._tasks:
            waiting = list(self._tasks)
            ended, _ = self._ray.wait(waiting, num_returns=len(waiting), timeout=WAIT_SECONDS)
            self._progress()
            for reference in ended:
                self._end(reference, *self._tasks.pop(reference))
            self._see_head()

    def _see_head(self) -> None:
        """Say that the head is lost before Ray ends the process."""
        if (now := time.monotonic()) > self._seen + REACH_SECONDS:
            try:
                _reach(self._head)
                self._seen = now
            except OSError as error:
                if now > self._seen + HEAD_SECONDS:
                    raise BenchFailedError(
                        f"the head of the Ray cluster at {self._head} does not answer ({error}): what was finished is "
                        "kept; start a cluster and run the same command again."
                    ) from error

    def _look(self) -> None:
        """Have every machine that is large enough say whether it has what a node needs, before hours are spent."""
        large = [
            machine
            for machine in self._ray.nodes()
            if machine["Alive"] and all(machine["Resources"].get(name, 0) >= size for name, size in self._size.items())
        ]
        if not large:
            raise ConfigError(
                "no machine of the Ray cluster has the {CPU:g} CPU cores (engine.cpus) and {GPU:g} GPUs (engine.gpus) "
                "that each node takes.".format(**self._size)
            )
        for machine in large:
            look = self._task.options(num_gpus=0, scheduling_strategy=self._on(machine["NodeID"]))
            self._tasks[look.remote(self._machine, b"", b"", None)] = machine["NodeManagerHostname"], set()

    def _submit(self, node: Node) -> None:
        """Hand a node to Ray, with the failures and the tasks of what it needs."""
        failures = {need.key: self._loop.failures[need.key] for need in node.needs if need.key in self._loop.failures}
        parents = {self._makers[need.key] for need in node.needs if need.key in self._makers} & self._references.keys()
        references = [self._references[key] for key in sorted(parents)]
        reference = self._task.remote(self._machine, pickle.dumps(node), pickle.dumps(failures), self._hub, *references)
        self._tasks[reference], self._references[node.key] = (node, parents), reference

    def _end(self, reference: Any, node: Node | str, parents: set[str]) -> None:
        """Note what a task has returned, or that it was lost."""
        try:
            said, failures, problem = pickle.loads(self._ray.get(reference))
        except self._ray.exceptions.RayError as error:
            cause = getattr(error, "cause", None)  # of an error in the task itself
            line = f"{type(cause or error).__name__}: {(str(cause or error).splitlines() or ['-'])[0]}"
            if isinstance(node, str):
                if cause:  # else the machine has left the cluster
                    raise ConfigError(f"machine {node} cannot compute: {line}") from error
            elif any(self._references.get(key) in self._tasks for key in parents):
                self._tasks[reference] = node, parents  # perhaps it is one of these that was lost
            elif parents <= self._references.keys():
                del self._references[node.key]
                line = line if cause else f"its worker was lost {RETRIES + 1} times, at last by {line}"
                self._loop.fail(node, line, str(error))
            else:  # what it waited for was lost, and it has never run
                self._submit(node)
            return
        if problem:
            raise InputError(problem)
        self._loop.failures.update(failures)
        for name, arguments in said:
            if name == "end" and isinstance(node, Node):
                self._show(node, node.work)
            getattr(self._observer, name)(*arguments)

    def _progress(self) -> None:
        """Show what tasks have told since the last time."""
        if self._ray.wait([self._news], timeout=0)[0]:
            with suppress(self._ray.exceptions.RayError):  # the hub is lost: a node is shown when it ends
                news, self._news = self._ray.get(self._news), self._hub.take.remote()
                for node, _ in self._tasks.values():
                    if isinstance(node, Node) and node.key in news:
                        self._show(node, news[node.key])

    def _show(self, node: Node, work: int) -> None:
        """Have the observer know of so much work of a node; one that is tried again begins below what was shown."""
        if node.key not in self._shown:
            self._observer.begin(node.KIND.title, str(node))
        if (more := work - self._shown.setdefault(node.key, 0)) > 0:
            self._observer.advance(node.KIND.title, more)
            self._shown[node.key] = work


def _ordered(nodes: Sequence[Node]) -> list[Node]:
    """Those that the longest chains of others wait for first, then those with most work: parents before children."""
    makers = {key: node.key for node in nodes for key in node.entries}
    heights = dict.fromkeys((node.key for node in nodes), 0)
    for node in reversed(nodes):
        for maker in {makers[need.key] for need in node.needs if need.key in makers}:
            heights[maker] = max(heights[maker], heights[node.key] + 1)
    return sorted(nodes, key=lambda node: (-heights[node.key], -node.work))


def _reach(address: str) -> None:
    """Connect to ``host:port`` once."""
    host, _, port = address.rpartition(":")
    socket.create_connection((host, int(port)), REACH_SECONDS).close()


@contextmanager
def _marked(store: Path) -> Iterator[Path]:
    """A new folder in the store: a machine that sees it sees the same store."""
    with ExitStack() as stack:
        try:
            store.mkdir(parents=True, exist_ok=True)
            mark = stack.enter_context(scratch_folder("ray-", store))
        except OSError as error:
            raise ResultsError(
                f"cannot write in {store} ({error.strerror}): set results= to a writable folder."
            ) from error
        yield mark


@contextmanager
def _signals_as_raised() -> Iterator[None]:
    """Raise what the handler of a signal has raised: where Ray was waiting it makes a SystemError of that."""
    try:
        yield
    except SystemError as error:
        raise error.__cause__ or error from None


@contextmanager
def _connected(engine: Ray, job: Job) -> Iterator[Any]:
    """Ray, connected to the cluster of the settings; what was started here ends with the block.

    Raises:
        ConfigError: It is not installed, or there is no such cluster.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # else it tells its makers of the run
    os.environ.setdefault("RAY_task_oom_retries", str(RETRIES))  # else what needs too much memory is tried for ever
    try:
        import ray
    except ImportError as error:
        raise ConfigError(f"engine ray cannot be imported ({error}): pip install 'tl_robust[ray]'.") from error
    if ray.is_initialized():  # by whoever calls this package, and ends it
        yield ray
        return
    with ExitStack() as stack, _signals_as_raised():
        options: dict[str, Any] = {"address": engine.address or "local"}
        if not engine.address:
            # sockets lie there, whose paths have at most 107 bytes, and TMPDIR may name a deep folder
            short = Path("/tmp") if len(tempfile.gettempdir()) > 30 else None
            cores = None if torch.cuda.is_available() else math.ceil(job.share * engine.cpus)
            options |= {"num_cpus": cores, "object_store_memory": OBJECTS, "include_dashboard": False}
            options["_temp_dir"] = str(stack.enter_context(scratch_folder("tlr-", short)))
        handler = signal.getsignal(signal.SIGTERM)  # Ray sets its own, which would end the command in its own way
        stack.callback(ray.shutdown)
        try:
            if engine.address not in ("", "auto"):
                _reach(engine.address)
            ray.init(log_to_driver=False, logging_level="ERROR", **options)
        except SystemError:
            raise
        except Exception as error:  # of many kinds, and all about the cluster
            where = f"join a Ray cluster at {engine.address}" if engine.address else "start Ray on this machine"
            raise ConfigError(f"cannot {where} ({' '.join(str(error).split())}): see engine.address.") from error
        finally:
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, handler)
        yield ray
