"""What an engine is: it computes nodes, each once, after what it needs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tl_robust.engines.observer import Observer
from tl_robust.nodes.node import Node
from tl_robust.registry import Registry, Scalar


@dataclass(frozen=True)
class Job:
    """What every process that computes must know.

    Attributes:
        store: Folder of the store, absolute.
        options: Options of the Lightning Trainer.
        attack_batch: Images an attack works on at a time; 0: measured.
        plugins: Plugin folders, absolute.
        share: How many processes the CPU cores or the GPU of one machine hold.
    """

    store: Path
    options: Mapping[str, Scalar]
    attack_batch: int
    plugins: tuple[Path, ...] = ()
    share: int = 1


@dataclass(frozen=True)
class Failure:
    """A node that could not be computed.

    Attributes:
        node: What it is, in words.
        cause: First cause, one line.
        trace: Full traceback; empty where the cause lies in another node.
    """

    node: str
    cause: str
    trace: str = ""


@dataclass(frozen=True)
class Engine(ABC):
    """Base of all engines: a frozen dataclass whose fields are its settings."""

    @abstractmethod
    def run(self, job: Job, nodes: Sequence[Node], observer: Observer) -> dict[str, Failure]:
        """Make every entry of every node present in the store.

        A node that fails does not stop the others.

        Args:
            job: How and where to.
            nodes: Each after those that it needs.
            observer: Hears of progress.

        Returns:
            Failures by the key of an entry.

        Raises:
            InputError: What the user wrote cannot work for any node, or the store cannot be written.
        """


ENGINES: Registry[type[Engine]] = Registry("engine", "tl_robust.engines")
