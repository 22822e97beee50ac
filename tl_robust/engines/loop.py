"""The one loop that computes nodes: lock, present, needs, make, write, fail; for every kind and every engine."""

from __future__ import annotations

import time
import traceback
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import ClassVar

from tl_robust.engines.base import Failure, Job
from tl_robust.engines.observer import Observer
from tl_robust.errors import InputError, StoreError
from tl_robust.nodes.clock import Clock
from tl_robust.nodes.hands import Hands
from tl_robust.nodes.kind import Address
from tl_robust.nodes.node import Node
from tl_robust.nodes.provenance import commit, versions
from tl_robust.nodes.store import Store

WAIT_SECONDS = 0.2


class Loop:
    """Computes what is absent or damaged; two loops on one store share the work.

    Args:
        job: How and where to compute.
        nodes: Each after those that it needs.
        observer: Hears of progress.

    Attributes:
        failures: What could not be computed, by the key of an entry.
        RAISED: Errors that are no failure of one node.
    """

    RAISED: ClassVar[tuple[type[Exception], ...]] = (InputError,)

    def __init__(self, job: Job, nodes: Sequence[Node], observer: Observer) -> None:
        self.failures: dict[str, Failure] = {}
        self.nodes = nodes
        self._store = Store(job.store)
        self._hands = Hands(job.options, job.attack_batch)
        self._observer = observer
        self._makers = {key: node for node in nodes for key in node.entries}
        self._whole: set[str] = set()
        self._before: frozenset[str] = frozenset()  # keys of the entries that were whole when the run began
        self._damaged: set[str] = set()

    def run(self) -> dict[str, Failure]:
        """Settle all nodes; one that another process is computing is left for later."""
        left = self.absent
        while left:
            waiting = [node for node in left if not self.settle(node)]
            if len(waiting) == len(left):
                time.sleep(WAIT_SECONDS)
            left = waiting
        return self.failures

    @cached_property
    def absent(self) -> list[Node]:
        """The nodes that have something to compute; the observer is told of them."""
        absent = [node for node in self.nodes if not all(self._present(key) for key in node.entries)]
        self._before = frozenset(self._whole)
        for kind in dict.fromkeys(node.KIND for node in self.nodes):
            works = [node.work for node in absent if kind == node.KIND]
            self._observer.expect(kind.title, len(works), sum(works))
        return absent

    def settle(self, node: Node) -> bool:
        """Compute what is absent of a node, or note why it cannot be; False where it must wait for another process."""
        kind, waits = node.KIND, node.entries.keys() - self._before
        wanted = [key for key in node.entries if key in waits and not self._blocked(node, key)]
        if not wanted:
            self._observer.drop(kind.title, node.work)
            return True
        if absent := [key for key in wanted if not self._present(key)]:
            if not all(self._there(need) for need in node.only(absent).needs):
                return False
            with self._store.lock(node.key) as held:
                if not held:
                    return False
                absent = [key for key in absent if not self._present(key)]
                if absent and not self._make(node.only(absent), absent):
                    return True
        if not absent:  # another process has made them
            self._observer.advance(kind.title, node.work)
        made = self._store.manifest(kind, wanted[0])["made"]
        self._observer.end(kind.title, str(node), made["seconds"], node.note(made))
        return True

    def _blocked(self, node: Node, key: str) -> bool:
        """Whether what an entry needs could not be computed; a leaf is left out without a word."""
        failed = next((need for need in node.needs_of(key) if need.key in self.failures), None)
        if failed and not node.KIND.leaf:
            self._fail(key, node, f"it needs a {failed.kind.title} that failed: {failed.title}")
        return failed is not None

    def _make(self, node: Node, wanted: Sequence[str]) -> bool:
        """Compute a node and store the entries that are wanted; False where that failed."""
        self._observer.begin(node.KIND.title, str(node))
        hands = replace(self._hands, advance=partial(self._observer.advance, node.KIND.title))
        start, before = time.perf_counter(), Clock.read()
        try:
            with self._store.running(node.key, str(node)):
                records, facts = node.make(hands, self._store)
                seconds = round(time.perf_counter() - start, 3)
                busy = round(Clock.read().since(before, str(facts.get("device"))), 3)
                made = {"seconds": seconds, "busy_seconds": busy, "versions": versions(), "commit": commit()} | facts
                for key in wanted:
                    self._store.write(node.KIND, key, node.KIND.pack(records[key]), node.entries[key], made)
                    self._whole.add(key)
        except self.RAISED:
            raise
        except Exception as error:  # noqa: BLE001  (one node must not stop the others; the trace is kept)
            cause = f"{type(error).__name__}: {(str(error).splitlines() or ['-'])[0]}"
            self.fail(node, cause, traceback.format_exc())
            return False
        return True

    def fail(self, node: Node, cause: str, trace: str = "") -> None:
        """Note that what is absent of a node could not be computed."""
        self._store.failed(node.key, str(node), cause)
        for key in node.entries:
            if key not in self._whole:
                self._fail(key, node, cause, trace)

    def _there(self, need: Address) -> bool:
        """Whether what a node needs is in the store; what no node of this loop makes is read where it is needed."""
        return self._present(need.key) if need.key in self._makers else self._store.has(need.kind, need.key)

    def _present(self, key: str) -> bool:
        """Whether an entry is present and whole; a damaged one is named, and will be computed again."""
        if key in self._whole:
            return True
        node = self._makers[key]
        try:
            if not self._store.whole(node.KIND, key, partial(node.fault, key)):
                return False
        except StoreError as error:
            if key not in self._damaged:  # asked again before it is computed, perhaps by another process
                self._observer.warn(f"{error}; computing it again.")
            self._damaged.add(key)
            return False
        self._whole.add(key)
        return True

    def _fail(self, key: str, node: Node, cause: str, trace: str = "") -> None:
        if key in self.failures:  # the user was told before, while another entry of the node waited
            return
        title = f"{node.KIND.title}s of {node}" if node.KIND.leaf else node.label(key)
        self.failures[key] = Failure(title, cause, trace)
        self._observer.warn(f"failed: {title}: {cause}")
