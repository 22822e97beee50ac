"""The one loop that computes nodes, with nodes that compute nothing."""

from __future__ import annotations

import platform
import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from words import PRINTS, SONGS, TRACE, WORDS, Print, Song, Word

from tl_robust.engines.base import Failure, Job
from tl_robust.engines.loop import Loop
from tl_robust.engines.observer import Observer
from tl_robust.errors import ConfigError, StoreError
from tl_robust.nodes.node import Node
from tl_robust.nodes.provenance import commit, versions
from tl_robust.nodes.store import Store

A = Word("a")
B, C = Word("b", (A,)), Word("c", (A,))
BAD = Word("bad", act="fail")


class Witness(Observer):
    """Writes down all that it hears."""

    def __init__(self) -> None:
        self.heard: list[tuple[object, ...]] = []

    def expect(self, stage: str, items: int, work: int) -> None:
        self.heard.append(("expect", stage, items, work))

    def begin(self, stage: str, label: str) -> None:
        self.heard.append(("begin", stage, label))

    def advance(self, stage: str, work: int) -> None:
        self.heard.append(("advance", stage, work))

    def end(self, stage: str, label: str, seconds: float, note: str) -> None:
        assert seconds >= 0
        self.heard.append(("end", stage, label, note))

    def drop(self, stage: str, work: int) -> None:
        self.heard.append(("drop", stage, work))

    def warn(self, message: str) -> None:
        self.heard.append(("warn", message))

    def of(self, what: str) -> list[tuple[object, ...]]:
        return [fields for name, *fields in self.heard if name == what]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def ran(store: Store, *nodes: Node) -> tuple[dict[str, Failure], Witness]:
    witness = Witness()
    return Loop(Job(store.root, {}, 16), nodes, witness).run(), witness


def made() -> list[str]:
    """What was made so far, in that order."""
    return [line.rpartition(" ")[0] for line in TRACE.read_text().splitlines()] if TRACE.exists() else []


def test_every_node_is_made_once_and_after_what_it_needs(store: Store) -> None:
    nodes = [A, Word("d", (B, C)), B, C]  # an engine gets them in order, but the loop does not rely on it
    failures, _ = ran(store, *nodes)
    assert failures == {}
    assert sorted(made()) == ["a", "b", "c", "d"]
    assert made()[0] == "a"
    assert made()[-1] == "d"
    assert store.load(WORDS, nodes[1].key) == "a b a c d"
    failures, again = ran(store, *nodes)
    assert (failures, len(made())) == ({}, 4)
    assert again.heard == [("expect", "word", 0, 0)]


def test_what_is_stored_says_how_it_was_made(store: Store) -> None:
    ran(store, A)
    manifest = store.manifest(WORDS, A.key)
    facts = manifest["made"]
    assert manifest["spec"] == A.spec
    assert facts.keys() == {"seconds", "busy_seconds", "versions", "commit", "device", "letters"}
    assert 0 <= facts["seconds"] < 60
    assert (facts["versions"], facts["commit"], facts["device"]) == (versions(), commit(), "mouth")


@pytest.mark.parametrize(("device", "busy"), [("cpu (x86_64)", 2), ("a GPU", 8)])
def test_seconds_are_those_of_the_wall_and_busy_ones_those_of_the_device(
    store: Store, monkeypatch: pytest.MonkeyPatch, device: str, busy: int
) -> None:
    """A scripted node that works for 2 of the 8 seconds that pass, after others of this process."""
    now = {"wall": 100.0, "cpu": 50.0, "children": 7.0}
    monkeypatch.setattr("tl_robust.nodes.clock.time.perf_counter", lambda: now["wall"])
    monkeypatch.setattr("tl_robust.nodes.clock.time.process_time", lambda: now["cpu"])
    monkeypatch.setattr("tl_robust.nodes.clock._children", lambda: now["children"])
    make = Word.make

    def working(*arguments: Any) -> Any:
        now["wall"], now["cpu"], now["children"] = now["wall"] + 8, now["cpu"] + 0.5, now["children"] + 1.5
        records, facts = make(*arguments)
        return records, facts | {"device": device}

    monkeypatch.setattr(Word, "make", working)
    assert ran(store, A, B)[0] == {}
    for word in (A, B):
        facts = store.manifest(WORDS, word.key)["made"]
        assert (facts["seconds"], facts["busy_seconds"]) == (8, busy)


def test_the_observer_hears_of_all_work(store: Store) -> None:
    _, witness = ran(store, A, B, Song("song", (A, B)), Print(B))
    assert witness.heard == [
        *[("expect", "word", 2, 2), ("expect", "song", 1, 10), ("expect", "print", 1, 1)],
        *[("begin", "word", "a"), ("advance", "word", 1), ("end", "word", "a", "1 letters")],
        *[("begin", "word", "b"), ("advance", "word", 1), ("end", "word", "b", "3 letters")],
        *[("begin", "song", "song"), ("advance", "song", 10), ("end", "song", "song", "")],
        *[("begin", "print", "b on paper"), ("advance", "print", 1), ("end", "print", "b on paper", "")],
    ]


# several entries


def test_one_pass_makes_all_entries(store: Store) -> None:
    song = Song("song", (A, B))
    ran(store, A, B, song)
    assert made() == ["a", "b", "song(a,b)"]
    assert [store.load(SONGS, song.key_of(word)) for word in (A, B)] == ["song: a", "song: a b"]
    assert store.manifest(SONGS, song.key_of(B))["spec"] == song.verse(B)
    assert not store.has(SONGS, song.key)


def test_only_absent_entries_are_made_and_the_others_left_alone(store: Store) -> None:
    ran(store, A, B, Song("song", (A,)))
    before = store.file(SONGS, Song("song").key_of(A)).stat().st_mtime_ns
    ran(store, A, B, Song("song", (A, B)))
    assert made()[2:] == ["song(a)", "song(b)"]
    assert store.file(SONGS, Song("song").key_of(A)).stat().st_mtime_ns == before


def test_what_another_process_made_while_the_lock_was_waited_for_is_not_made_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran(store, A, B)
    lock, song = Store.lock, Song("song", (A, B))

    def after_another(self: Store, key: str) -> object:
        if key == song.key and not store.has(SONGS, song.key_of(A)):
            monkeypatch.setattr(Store, "lock", lock)
            ran(store, A, B, song.only([song.key_of(A)]))
        return lock(self, key)

    monkeypatch.setattr(Store, "lock", after_another)
    assert ran(store, A, B, song)[0] == {}
    assert made()[2:] == ["song(a)", "song(b)"]


# failures


def test_a_failure_is_that_of_the_node_and_of_what_needs_it_alone(store: Store) -> None:
    child = Word("child", (BAD,))
    failures, witness = ran(store, BAD, A, child, Word("grandchild", (child,)), B)
    assert [(failure.node, failure.cause) for failure in failures.values()] == [
        ("bad", "RuntimeError: no luck"),
        ("child", "it needs a word that failed: bad"),
        ("grandchild", "it needs a word that failed: child"),
    ]
    assert list(failures)[:2] == [BAD.key, child.key]
    assert "Traceback" in failures[BAD.key].trace
    assert failures[child.key].trace == ""
    assert made() == ["bad", "a", "b"]
    assert len(witness.of("warn")) == 3
    assert witness.of("warn")[0] == ["failed: bad: RuntimeError: no luck"]
    assert witness.of("drop") == [["word", 1]] * 2
    assert ran(store, Word("bad"), child)[0] == {}, "the next run tries again"


def test_the_entries_that_can_be_made_are(store: Store) -> None:
    song = Song("song", (A, BAD, B))
    failures, witness = ran(store, A, BAD, B, song)
    assert made()[-1] == "song(a,b)"
    assert {key: failure.cause for key, failure in failures.items()} == {
        BAD.key: "RuntimeError: no luck",
        song.key_of(BAD): "it needs a word that failed: bad",
    }
    assert failures[song.key_of(BAD)].node == "song of bad"
    assert store.has(SONGS, song.key_of(A))
    assert not witness.of("drop")


def test_a_pass_that_fails_fails_for_all_its_entries_in_their_order(store: Store) -> None:
    words = [Word(letter) for letter in "abcdefgh"]
    song = Song("song", tuple(words), act="fail")
    failures, _ = ran(store, *words, song)
    assert list(failures) == [song.key_of(word) for word in words]
    assert {failure.cause for failure in failures.values()} == {"RuntimeError: hoarse"}


def test_a_failure_is_told_once_while_other_entries_wait(store: Store) -> None:
    song, witness = Song("song", (BAD, A)), Witness()
    loop = Loop(Job(store.root, {}, 16), [BAD, A, song], witness)
    assert loop.settle(BAD)
    with store.lock(A.key):  # as another process that computes it
        assert not loop.settle(A)
        assert not loop.settle(song)
        assert not loop.settle(song)
    assert len(witness.of("warn")) == 2  # bad, and the verse of it
    assert loop.run().keys() == {BAD.key, song.key_of(BAD)}
    assert store.load(SONGS, song.key_of(A)) == "song: a"


def test_entries_that_stood_before_do_not_stand_for_those_that_fail(store: Store) -> None:
    ran(store, A, Song("song", (A,)))
    failures, witness = ran(store, A, BAD, Song("song", (A, BAD)))
    assert len(failures) == 2
    assert witness.of("drop") == [["song", 10]]
    assert not witness.of("end")


def test_a_leaf_is_left_out_without_a_word(store: Store) -> None:
    failures, witness = ran(store, BAD, A, Print(BAD), Print(A))
    assert list(failures) == [BAD.key]
    assert len(witness.of("warn")) == 1
    assert witness.of("drop") == [["print", 1]]
    assert store.load(PRINTS, Print(A).key) == "a"
    assert not store.has(PRINTS, Print(BAD).key)


def test_a_leaf_that_fails_itself_is_told(store: Store) -> None:
    failures, _ = ran(store, A, Print(A, act="fail"))
    assert [(one.node, one.cause) for one in failures.values()] == [("prints of a on paper", "RuntimeError: no ink")]


def test_what_the_user_must_change_ends_the_loop(store: Store) -> None:
    with pytest.raises(ConfigError, match="write another word"):
        ran(store, A, Word("no", act="refuse"), C)
    assert made() == ["a", "no"]
    with store.lock(Word("no").key) as free:
        assert free
    assert store.marks("running") == {}


# damage


@pytest.mark.parametrize("content", [b"", b"\xff", b"cut"])
def test_a_damaged_entry_is_named_and_made_again(store: Store, content: bytes) -> None:
    ran(store, A, B)
    file = store.file(WORDS, A.key)
    file.write_bytes(content)
    failures, witness = ran(store, A, B)
    assert failures == {}
    assert made() == ["a", "b", "a"]
    assert file.read_text() == "a"
    (warned,) = witness.of("warn")
    assert str(file) in str(warned[0])
    assert str(warned[0]).endswith("; computing it again.")


def test_whole_bytes_that_are_not_the_entrys_are_damage(store: Store) -> None:
    ran(store, A)
    store.write(WORDS, A.key, b"xyz", A.spec, store.manifest(WORDS, A.key)["made"])
    store.load(WORDS, A.key)
    _, witness = ran(store, A)
    assert store.load(WORDS, A.key) == "a"
    assert "is damaged: it ends in xyz" in str(witness.of("warn"))


def test_what_no_node_of_the_loop_makes_is_read_from_the_store(store: Store) -> None:
    ran(store, A)
    assert ran(store, B)[0] == {}
    assert store.load(WORDS, B.key) == "a b"
    store.file(WORDS, A.key).write_bytes(b"cut")
    (failure,) = ran(store, C)[0].values()
    assert failure.cause.startswith(StoreError.__name__)


# several loops


def test_two_loops_share_the_work_and_both_hear_of_all(store: Store) -> None:
    words = [Word(str(number), act="slow") for number in range(8)]
    nodes: Sequence[Node] = [*words, Song("song", tuple(words))]
    found: list[tuple[dict[str, Failure], Witness]] = []
    threads = [threading.Thread(target=lambda: found.append(ran(store, *nodes))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(made()) == Counter([*map(str, words), "song(0,1,2,3,4,5,6,7)"])
    begun = [witness.of("begin") for _, witness in found]
    assert sorted(map(str, begun[0] + begun[1])) == sorted(
        [*(str(["word", str(word)]) for word in words), "['song', 'song']"]
    )
    assert all(begun), "both made some"
    for failures, witness in found:
        assert failures == {}
        assert sorted(map(str, witness.of("end"))) == sorted(
            [*(str(["word", str(word), "1 letters"]) for word in words), "['song', 'song', '']"]
        )
        assert sum(int(str(work)) for _, work in witness.of("advance")) == 8 + 10
        assert not witness.of("drop")


def test_a_node_that_another_process_computes_is_left_for_later(store: Store) -> None:
    witness = Witness()
    loop = Loop(Job(store.root, {}, 16), [A, B], witness)
    with store.lock(A.key):
        assert not loop.settle(A)
        assert not loop.settle(B)
    assert made() == []
    assert loop.run() == {}
    assert made() == ["a", "b"]


# marks


def test_marks_say_what_runs_and_what_failed(store: Store) -> None:
    look = Word("look", act="look")
    ran(store, look, BAD)
    assert made() == ["look", "look runs", "bad"]
    assert store.marks("running") == {}
    failed = store.marks("failed")
    assert failed.keys() == {BAD.key}
    fields = failed[BAD.key]
    assert (fields["title"], fields["cause"], fields["host"]) == ("bad", "RuntimeError: no luck", platform.node())
    assert fields["pid"] > 0
    assert fields["time"] > 1.6e9
    ran(store, Word("bad"))
    assert store.marks("failed") == {}
