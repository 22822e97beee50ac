"""A signal ends the process in order where it can, and in any case."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tl_robust import files
from tl_robust.cli import program as cli
from tl_robust.cli.stopping import SIGNALS, Stopped, stoppable
from tl_robust.files import scratch_folder, undone, write_atomically


def send(number: int = signal.SIGTERM) -> None:
    os.kill(os.getpid(), number)
    time.sleep(5)


def stopped(act: Callable[[], None]) -> None:
    """Call it where it can be stopped, and see that it is."""
    with pytest.raises(Stopped), stoppable("words", program=False):
        act()


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_raises_and_everything_is_as_before(number: signal.Signals) -> None:
    before, threads = [signal.getsignal(item) for item in SIGNALS], threading.active_count()
    stopped(lambda: send(number))
    assert [signal.getsignal(item) for item in SIGNALS] == before
    assert threading.active_count() == threads
    with stoppable("words", program=True):  # without a signal the end is in order here too
        pass
    assert threading.active_count() == threads


def test_what_goes_on_after_failures_does_not_go_on_after_a_signal() -> None:
    def act() -> None:
        try:
            send()
        except Exception:  # noqa: BLE001
            pytest.fail("it was taken for a failure")

    stopped(act)


def test_a_second_signal_does_not_interrupt_the_cleaning_up() -> None:
    cleaned: list[bool] = []

    def act() -> None:
        try:
            send()
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.1)
            cleaned.append(True)

    stopped(act)
    assert cleaned


def test_nohup_is_respected() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stoppable("words", program=False):
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_another_thread_is_left_alone() -> None:
    seen: list[object] = []

    def inside() -> None:
        with stoppable("words", program=False):
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGTERM)]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # Python 3.12: this process has threads
def test_a_forked_child_ends_as_any_process_and_does_not_stop_its_parent() -> None:
    with stoppable("words", program=False):
        child = os.fork()
        if child == 0:
            time.sleep(60)
            os._exit(0)
        time.sleep(0.2)
        os.kill(child, signal.SIGTERM)
        _, status = os.waitpid(child, 0)
        time.sleep(0.2)
    assert os.WTERMSIG(status) == signal.SIGTERM


PROGRAM = """
import hashlib, os, signal, sys, threading
from pathlib import Path
from tl_robust import files
from tl_robust.cli import stopping
stopping.GRACE = 0.5
def act():
{act}
with stopping.stoppable("the words", program=True), files.undone(lambda: Path("left").unlink()):
    Path("left").write_text("")
    threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGTERM)).start()
    act()
"""
DEAF = "    hashlib.pbkdf2_hmac('sha256', b'', b'', 2**31 - 1)\n"
DEAD = """
    while True:
        try:
            for _ in iter(int, 1): pass
        except BaseException:  # as a library might
            pass
"""
SLOW = """
    try:
        for _ in iter(int, 1): pass
    finally:
        hashlib.pbkdf2_hmac('sha256', b'', b'', 2**31 - 1)
"""


@pytest.mark.parametrize("act", [DEAF, DEAD, SLOW], ids=["deaf to signals", "catches all", "cleans up for hours"])
def test_whatever_it_does_it_ends(act: str) -> None:
    begin = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.replace("{act}", act)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (143, "\nthe words\n")
    assert time.monotonic() - begin < 30
    assert not Path("left").exists()


def test_temporary_files_are_known_while_they_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[Path]] = []

    def sync(handle: int) -> None:
        for action in files._undo.values():
            action()
        seen.append(list(tmp_path.iterdir()))
        raise OSError("stopped here")

    monkeypatch.setattr(os, "fsync", sync)
    with pytest.raises(Exception, match="stopped here"):
        write_atomically(tmp_path / "file", b"content")
    assert seen == [[]]
    assert files._undo == {}


@pytest.mark.parametrize("make", [lambda: 1 / 0, lambda: None])
def test_scratch_folders_go(make: Callable[[], object], tmp_path: Path) -> None:
    with contextlib.suppress(ZeroDivisionError), scratch_folder("x", tmp_path) as folder:
        (folder / "file").touch()
        make()
    assert list(tmp_path.iterdir()) == []
    with scratch_folder("x", tmp_path) as folder:  # as where the process is ended without unwinding
        (folder / "file").touch()
        for action in files._undo.values():
            action()
        assert list(tmp_path.iterdir()) == []
    assert files._undo == {}


def test_a_name_of_255_bytes_can_be_written(tmp_path: Path) -> None:
    write_atomically(tmp_path / ("x" * 255), b"content")
    assert (tmp_path / ("x" * 255)).read_bytes() == b"content"


def test_undone_is_forgotten_afterwards() -> None:
    with undone(lambda: None):
        assert len(files._undo) == 1
    assert files._undo == {}


@pytest.mark.parametrize(
    ("act", "code"),
    [(lambda: os.kill(os.getpid(), signal.SIGTERM), 143), (lambda: os.kill(os.getpid(), signal.SIGINT), 130)],
)
def test_main_says_how_to_go_on(
    act: Callable[[], None], code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(arguments: object) -> int:
        act()
        time.sleep(5)
        return 0

    monkeypatch.setattr(cli, "_run", run)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores Ctrl-C
    try:
        assert cli.main(["run", "x.yaml", "axes.seed=[0, 1]"]) == code
    finally:
        signal.signal(signal.SIGINT, before)
    expected = "\nstopped: what was finished is kept; go on with: tl-robust run x.yaml 'axes.seed=[0, 1]'\n"
    assert capsys.readouterr().err == expected
