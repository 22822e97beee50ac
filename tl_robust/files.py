"""Files that are whole or absent, and folders that go, however the process ends (but by ``kill -9``)."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tl_robust.errors import ResultsError
from tl_robust.stopping import undone


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
