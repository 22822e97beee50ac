"""What an engine promises: every node once, after what it needs, whatever fails and whatever is there already."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tl_robust.contracts.component import shared
from tl_robust.contracts.contract import Contracts, Named, NotAskedError, demand
from tl_robust.contracts.words import WORDS, Word
from tl_robust.engines.base import ENGINES, Engine, Failure, Job
from tl_robust.engines.observer import Observer
from tl_robust.nodes.node import Node
from tl_robust.nodes.store import Store

A = Word("a")
B, C = Word("b", (A,)), Word("c", (A,))
D = Word("d", (B, C))
ALL = (A, B, C, D)
LOOP = "give the nodes to Loop(job, nodes, observer).run()"


def cases(named: Named) -> Iterator[tuple[str, Engine]]:
    """The engine with its own settings."""
    if named.name == "ray":
        raise NotAskedError("It would start a cluster on this machine.")
    yield "", ENGINES[named.name]()


CONTRACTS = Contracts("engine", cases)
shared(CONTRACTS)


@contextmanager
def store_in_a_folder() -> Iterator[Store]:
    """An empty store."""
    with tempfile.TemporaryDirectory() as folder:
        yield Store(Path(folder).resolve() / "store")


def run(engine: Engine, store: Store, nodes: Sequence[Node]) -> tuple[dict[str, Failure], list[str]]:
    """What failed, and the labels of what was computed, in that order."""
    begun: list[str] = []

    class Witness(Observer):
        def begin(self, stage: str, label: str) -> None:
            begun.append(label)

    return engine.run(Job(store.root, {"accelerator": "cpu"}, 16), nodes, Witness()), begun


@CONTRACTS
def computes_every_node_after_what_it_needs(engine: Engine) -> None:
    """All entries are in the store, whole and right, however the nodes come, and the observer hears of each."""
    for nodes in (ALL, ALL[::-1]):
        with store_in_a_folder() as store:
            failures, begun = run(engine, store, nodes)
            demand(failures == {}, "no failure", failures, LOOP)
            absent = [str(node) for node in nodes if not store.has(WORDS, node.key)]
            demand(not absent, "every entry in the store", f"none of {', '.join(absent)}", LOOP)
            text = store.load(WORDS, D.key)
            demand(text == "a b a c d", "'a b a c d' made of what it needs", repr(text), LOOP)
            demand(sorted(begun) == ["a", "b", "c", "d"], "each node begun once", " ".join(begun), LOOP)


@CONTRACTS
def computes_nothing_again(engine: Engine) -> None:
    """A second run computes nothing, and one after a stop computes what is left."""
    with store_in_a_folder() as store:
        run(engine, store, (A, B))
        failures, begun = run(engine, store, ALL)
        right = failures == {} and sorted(begun) == ["c", "d"]
        demand(right, "c and d alone after a run of a and b", " ".join(begun), LOOP)
        failures, begun = run(engine, store, ALL)
        demand(failures == {} and not begun, "nothing in a second run", " ".join(begun), LOOP)


@CONTRACTS
def computes_a_damaged_entry_again(engine: Engine) -> None:
    """An entry whose bytes are not those that were written is computed again."""
    with store_in_a_folder() as store:
        run(engine, store, ALL)
        (file,) = store.root.glob(f"**/*{B.key[:16]}*/{WORDS.file}")
        file.write_bytes(b"other")
        failures, begun = run(engine, store, ALL)
        right = failures == {} and begun == ["b"] and store.load(WORDS, B.key) == "a b"
        demand(right, "the damaged entry alone to be computed again", " ".join(begun) or "nothing", LOOP)


@CONTRACTS
def goes_on_where_a_node_fails(engine: Engine) -> None:
    """A failure is given by key with its cause, what needs it fails too, and all others are computed."""
    bad = Word("bad", (A,), bad=True)
    child = Word("child", (bad,))
    with store_in_a_folder() as store:
        failures, _ = run(engine, store, (A, bad, child, B))
        keys = {bad.key, child.key}
        demand(failures.keys() == keys, "failures of the bad node and its child", f"{len(failures)} failures", LOOP)
        cause = failures[bad.key].cause
        demand("no luck" in cause, "the cause 'no luck'", repr(cause), LOOP)
        demand(store.has(WORDS, B.key), "the other nodes to be computed", "one that is not", LOOP)
