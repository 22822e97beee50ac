"""Being told to stop (SIGTERM, SIGHUP): the command ends within seconds, whatever it does, with nothing half-made.

Python runs a signal handler between two of its own instructions only, so a long call into a library would hold it up,
and libraries catch exceptions. A thread therefore sees every signal too, and ends the process where it has not ended
by itself after :data:`GRACE` seconds.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from tl_robust.files import undo

GRACE = 5.0  # seconds to end in order; batch systems and `docker stop` kill after 10 or more
EXIT_CODE = 128 + signal.SIGTERM
SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Stopped(BaseException):
    """The process was told to stop; no ``Exception``, so that nothing that goes on after a failure catches it."""


@contextlib.contextmanager
def stoppable(words: str, program: bool) -> Iterator[None]:
    """Inside, SIGTERM and SIGHUP raise :class:`Stopped`, and the process ends soon afterwards in any case.

    A signal that is ignored (``nohup``) stays so. Outside the main thread, which alone gets signals, nothing is done.

    Args:
        words: Written to standard error where the process had to be ended.
        program: The process has nothing else to do: after a signal the clock runs on until it has ended.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ended, told = threading.Event(), threading.Event()
    before = {item: signal.getsignal(item) for item in SIGNALS}
    heeded = [item for item, handler in before.items() if handler not in (signal.SIG_IGN, None)]
    readable, writable = os.pipe()
    os.set_blocking(writable, False)
    watch = threading.Thread(target=_watch, args=(readable, ended, words), name="stopping", daemon=True)

    def stop(number: int, frame: FrameType | None) -> None:
        if not told.is_set():  # once: a second signal must not interrupt the cleaning up
            told.set()
            raise Stopped

    watch.start()
    woken = signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
    for item in heeded:
        signal.signal(item, stop)
    try:
        yield
    finally:
        if not (program and told.is_set()):
            for item in heeded:
                signal.signal(item, before[item])
            signal.set_wakeup_fd(woken)
            ended.set()
            os.write(writable, b"\0")
            watch.join()
            os.close(readable)
            os.close(writable)


def _watch(readable: int, ended: threading.Event, words: str) -> None:
    """Wait for a signal, and end the process where it does not end in time."""
    while not ended.is_set():
        if os.read(readable, 1)[0] in SIGNALS and not ended.wait(GRACE):
            undo()
            end_children()
            with contextlib.suppress(OSError):
                cursor = "\033[?25h" if sys.stdout.isatty() else ""  # a progress bar had hidden it
                os.write(2, f"{cursor}\n{words}\n".encode(errors="replace"))
            os._exit(EXIT_CODE)


def end_children() -> None:
    """Kill what this process started and what that started; on Linux all of it, elsewhere what Python knows of."""
    for child in multiprocessing.active_children():
        child.kill()
    for pid in _descendants(os.getpid()):
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)


def _descendants(pid: int) -> Iterator[int]:
    """Process ids of the children of a process and of theirs."""
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, file.read_text().split()):
                yield from _descendants(child)  # before it is killed and its children become those of another
                yield child


def _forked() -> None:
    """A forked child ends at a signal like any process, and does not write into the pipe of its parent."""
    if any(getattr(signal.getsignal(item), "__module__", "") == __name__ for item in SIGNALS):
        signal.set_wakeup_fd(-1)
        for item in SIGNALS:
            if getattr(signal.getsignal(item), "__module__", "") == __name__:
                signal.signal(item, signal.SIG_DFL)


os.register_at_fork(after_in_child=_forked)
