"""Check the files of a plugin folder, each in a process of its own, so that none can stop the others."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from tl_robust.contracts.one_file import END, READ
from tl_robust.contracts.sheet import Line
from tl_robust.errors import ConfigError, UnknownNameError

LIMIT = 120.0  # seconds that one file may take, its import and all its contracts
PROCESSES = 2  # files that are checked at a time


def check_folder(
    folder: Path, only: Sequence[str] = (), root: Path | None = None, limit: float = LIMIT
) -> Iterator[list[Line]]:
    """The lines of each file, in the order of their names.

    Args:
        folder: The folder of plugin files.
        only: Names of files without ``.py``; all where empty.
        root: Folder of data sets, for domains and pairs.
        limit: Seconds that one file may take.

    Raises:
        ConfigError: There is no such folder, or no Python file in it.
        UnknownNameError: No file has the name that was asked for; the message shows the closest.
    """
    if not folder.is_dir():
        raise ConfigError(f"plugin folder {folder} not found: give the path of a folder of .py files.")
    paths = {path.stem: path.resolve() for path in sorted(folder.glob("*.py"))}
    for name in only:
        if name not in paths:
            raise UnknownNameError(f"file of {folder}", name, paths)
    if not paths:
        raise ConfigError(f"plugin folder {folder} has no .py file: put one component into each file.")
    chosen = [path for name, path in paths.items() if not only or name in only]
    running: set[subprocess.Popen[bytes]] = set()
    with ThreadPoolExecutor(PROCESSES) as pool:
        try:
            yield from pool.map(lambda path: check_file(path, root, limit, running), chosen)
        except BaseException:  # such as Ctrl-C: nothing that was started is left behind
            pool.shutdown(wait=False, cancel_futures=True)
            for process in list(running):
                _end(process)
            raise


def check_file(
    path: Path, root: Path | None, limit: float, running: set[subprocess.Popen[bytes]] | None = None
) -> list[Line]:
    """The lines of one file; a process that does not come to its end is a line, too.

    Args:
        path: The file, resolved.
        root: Folder of data sets, for domains and pairs.
        limit: Seconds that it may take.
        running: Holds the process while it runs.
    """
    running = set() if running is None else running
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "lines"
        command = [sys.executable, "-m", f"{__package__}.one_file", str(path), str(out)]
        process = subprocess.Popen(
            [*command, *([str(root.resolve())] if root else [])],
            cwd=scratch, env=_environment(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        running.add(process)
        ended, code = "", 0
        try:
            code = process.wait(limit)
        except subprocess.TimeoutExpired:
            ended = f"It took more than {limit:g} seconds and was stopped: does a loop not end?"
        finally:
            _end(process)
            running.discard(process)
        lines, whole = _read(out)
    if not ended and whole:
        return lines
    ended = ended or f"The process ended with exit code {code} before all was asked: does the file end it?"
    if not lines:
        return [Line(path.name, "", "", READ, "unread", ended)]
    last = lines[-1]
    return [*lines, Line(path.name, last.kind, last.name, "all contracts can be asked", "broken", ended)]


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process and all that it has started."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, 9)
    process.wait()


def _read(out: Path) -> tuple[list[Line], bool]:
    """The lines that were written, and whether they are all."""
    written = out.read_text(encoding="utf-8").splitlines() if out.is_file() else []
    return [Line.read(json.loads(line)) for line in written if line.endswith("}")], END in written


def _environment() -> dict[str, str]:
    """That of this process, with this very package first, and one thread in each library."""
    package = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH", "")]))
    return os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "WANDB_MODE": "disabled"}
