"""Helpers share the work, have the plugins, and end with the process that started them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from words import TRACE

from tl_robust.cli import main
from tl_robust.engines import processes
from tl_robust.engines.base import ENGINES, Job
from tl_robust.engines.local import Local
from tl_robust.engines.loop import Loop
from tl_robust.engines.observer import Observer
from tl_robust.engines.processes import Processes
from tl_robust.nodes.node import Node
from tl_robust.nodes.store import Store
from tl_robust.registry import load_plugins


@pytest.fixture
def plugins(tmp_path: Path) -> Path:
    """A plugin folder with the nodes of words.py, loaded."""
    folder = tmp_path / "plugins"
    folder.mkdir()
    (folder / "words.py").write_text((Path(__file__).parent / "words.py").read_text())
    load_plugins(folder)
    return folder


def job(plugins: Path, share: int) -> Job:
    return Job(plugins.parent / "store", {}, 16, (plugins,), share)


def words(count: int, act: str = "slow", name: str = "") -> list[Node]:
    """Of the plugin's class, which no process knows before it has loaded the plugin."""
    return [sys.modules["tl_robust_plugins.words"].Word(f"{name}{number}", act=act) for number in range(count)]


def traces() -> list[tuple[str, int]]:
    lines = TRACE.read_text().splitlines() if TRACE.exists() else []
    return [(name, int(pid)) for name, _, pid in (line.rpartition(" ") for line in lines)]


def gone(pid: int) -> bool:
    """Whether a process has ended; one that nobody waited for counts."""
    status = Path(f"/proc/{pid}/stat")
    return not status.exists() or status.read_text().rpartition(")")[2].split()[0] in "ZX"


def until(what: object, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not what() and time.monotonic() < deadline:  # type: ignore[operator]
        time.sleep(0.05)
    assert what()  # type: ignore[operator]


def test_engines_are_found_by_name() -> None:
    assert {"local", "processes"} <= set(ENGINES.names())
    assert (ENGINES["local"], ENGINES["processes"]) == (Local, Processes)


def test_helpers_share_the_work_and_load_plugins(plugins: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def last(loop: Loop) -> dict[str, object]:
        until(lambda: len(traces()) >= 2)  # helpers are at it, and need nothing of this process
        return run(loop)

    run = Loop.run
    monkeypatch.setattr(Loop, "run", last)
    nodes = words(30)
    failures = Processes().run(job(plugins, 3), nodes, Observer())
    assert failures == {}
    assert sorted(name for name, _ in traces()) == sorted(map(str, nodes))
    pids = {pid for _, pid in traces()}
    assert len(pids - {os.getpid()}) == 2
    assert all(map(gone, pids - {os.getpid()}))


@pytest.mark.parametrize(("share", "absent", "count"), [(3, 0, 0), (3, 1, 0), (3, 2, 1), (2, 9, 1), (1, 9, 0)])
def test_no_more_helpers_than_there_is_work(
    plugins: Path, monkeypatch: pytest.MonkeyPatch, share: int, absent: int, count: int
) -> None:
    started: list[object] = []
    popen = subprocess.Popen

    def counted(command: list[str], **options: object) -> object:
        started.append(command)
        return popen(command, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(processes.subprocess, "Popen", counted)
    monkeypatch.setattr(processes.sys, "executable", "/bin/true")
    there = words(5, "", "there")
    Local().run(job(plugins, 1), there, Observer())
    started.clear()
    Processes().run(job(plugins, share), [*there, *words(absent, "")], Observer())
    assert len(started) == count


def test_a_helper_that_dies_at_once_costs_nothing(plugins: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes.sys, "executable", "/bin/false")
    nodes = words(3, "", "x" * 100_000)  # more than a pipe holds
    begin = time.monotonic()
    assert Processes().run(job(plugins, 3), nodes, Observer()) == {}
    assert time.monotonic() - begin < 20
    assert {pid for _, pid in traces()} == {os.getpid()}


def test_a_helper_that_reads_late_is_not_waited_for(
    plugins: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A helper imports for seconds before it reads; one that never gets there is ended when the work is done."""
    late = tmp_path / "late"
    late.write_text("#!/bin/sh\nexec sleep 60\n")
    late.chmod(0o755)
    monkeypatch.setattr(processes.sys, "executable", str(late))
    begin = time.monotonic()
    assert Processes().run(job(plugins, 3), words(3, "", "x" * 100_000), Observer()) == {}
    assert time.monotonic() - begin < 30


PARENT = """
import sys
from pathlib import Path
from tl_robust.engines.base import Job
from tl_robust.engines.observer import Observer
from tl_robust.engines.processes import Processes
from tl_robust.registry import load_plugins

folder = Path(sys.argv[1])
load_plugins(folder)
Word = sys.modules["tl_robust_plugins.words"].Word
nodes = [Word(name, act="stay") for name in ("one", "other", "third")]
Processes().run(Job(folder.parent / "store", {}, 16, (folder,), 3), nodes, Observer())
"""


def test_helpers_end_with_a_parent_that_was_killed(plugins: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(plugins)])
    try:
        until(lambda: len(traces()) == 3)
        pids = {pid for _, pid in traces()}
        assert len(pids) == 3
        store = Store(plugins.parent / "store")
        marks = store.marks("running")
        assert {fields["title"] for fields in marks.values()} == {"one", "other", "third"}
        assert {fields["pid"] for fields in marks.values()} == pids
    finally:
        parent.kill()
        parent.wait()
    until(lambda: all(map(gone, pids)))
    until(lambda: store.marks("running") == {}, 20)  # its last thread closes the lock, after the first has ended
    assert list((store.root / "running").glob("*.json")), "and is there"


def test_engines_write_the_same_table(tiny: Path, tmp_path: Path) -> None:
    few = ["axes.strategy=[finetune]", "axes.seed=[0]", "wandb.mode=disabled", "--plain"]
    tables = []
    for name in set(ENGINES.names()) - {"ray"}:  # which wants a library, and has a file of its own
        more = ["workers=3" if name == "processes" else "workers=1", f"results={tmp_path / name}"]
        assert main(["run", str(tiny), f"engine={name}", *more, *few]) == 0
        tables.append((tmp_path / name / "tiny" / "table.csv").read_bytes())
        assert not [path for path in (tmp_path / name).rglob(".*.*") if path.is_file()], "temporary files"
    assert len(tables) >= 2
    assert len(set(tables)) == 1
    assert tables[0].count(b"\n") > 20
