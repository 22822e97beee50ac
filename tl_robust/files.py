"""Files that are whole or absent, and folders that go, however the process ends (but by ``kill -9``)."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from tl_robust.errors import ResultsError

_undo: dict[object, Callable[[], object]] = {}


@contextmanager
def undone(action: Callable[[], object]) -> Iterator[None]:
    """Have ``action`` called where the process is ended inside without unwinding; else the caller cleans up itself.

    Args:
        action: Removes a temporary file or kills a child; it is called in another thread and may raise.
    """
    handle = object()
    _undo[handle] = action
    try:
        yield
    finally:
        _undo.pop(handle, None)


def undo() -> None:
    """Call what is registered with :func:`undone`, before the process is ended without unwinding."""
    for action in list(_undo.values()):
        with suppress(Exception):
            action()


def write_atomically(path: Path, content: bytes) -> None:
    """Write ``content`` to a temporary file beside ``path``, sync it to disk and rename it.

    Raises:
        ResultsError: The folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:100]}.")
        with undone(lambda: Path(name).unlink(missing_ok=True)):
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                Path(name).chmod(0o644)
                Path(name).replace(path)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
    except OSError as error:
        raise ResultsError(
            f"cannot write {path} ({error.strerror or error}): free the disk, or set results= to a writable folder."
        ) from error


@contextmanager
def scratch_folder(prefix: str, inside: Path | None = None) -> Iterator[Path]:
    """A folder for the time of a ``with`` block, in ``inside`` or where the system has such folders."""
    with (
        tempfile.TemporaryDirectory(prefix=prefix, dir=inside, ignore_cleanup_errors=True) as name,
        undone(partial(shutil.rmtree, name, ignore_errors=True)),
    ):
        yield Path(name)
