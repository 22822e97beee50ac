"""Decoded image sets on disk, mapped into memory: a set larger than memory, decoded once for all processes.

An entry is a folder ``key`` with the pixels, the labels and a manifest. It is written under another name, the manifest
last, and renamed, so what a killed process leaves never counts as present.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from numpy.typing import NDArray

from tl_robust.errors import DataError, ResultsError
from tl_robust.files import undone
from tl_robust.types import ImageSet

SCHEMA = 2
CHUNK = 1024  # images that are copied at a time


def cached(
    folder: Path, key: str, make: Callable[[], Iterable[ImageSet]], notes: dict[str, Any] | None = None
) -> ImageSet:
    """The image set of a key: mapped if it is present and whole, else made, written and mapped.

    Pixels and labels are hashed and compared with the fingerprint of the manifest (1.4 GB/s on one core): what has
    rotted on a disk is made again, and one line says so. Several processes may call it at once: one makes the set, the
    others wait for it.

    Args:
        folder: Folder of the cache; made where it is missing.
        key: Name of the entry, a file name; must change with all that changes the pixels.
        make: Gives the set in parts, in order, of one image shape. Only one part at a time is in memory.
        notes: Plain values that ``make`` leaves here are kept beside the pixels, and put here when they are read back.

    Returns:
        All parts as one set. Its images are mapped from the file, privately: a change would not reach it.

    Raises:
        DataError: The parts differ in image shape, or there is none.
        ResultsError: The folder cannot be written.
    """
    entry, notes = folder / key, {} if notes is None else notes
    found = _read(entry, notes)
    if found is None:
        with _writing(entry):
            folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(folder / f".{key}.lock")
            lock.acquire()
        try:
            found = _read(entry, notes)
            if found is None:
                if (entry / "manifest.json").exists():  # to the error stream: what a command prints may be parsed
                    print(f"{entry} is damaged and is made again from the data.", file=sys.stderr)  # noqa: T201
                found = _make(entry, make, notes)
        finally:
            lock.release()
    return found


def _read(entry: Path, notes: dict[str, Any]) -> ImageSet | None:
    """The entry, mapped, its notes put into ``notes``; None where it is absent or damaged."""
    try:
        manifest = json.loads((entry / "manifest.json").read_bytes())
        if manifest["schema"] != SCHEMA:
            return None
        count, shape, fingerprint = int(manifest["count"]), tuple(manifest["shape"]), str(manifest["fingerprint"])
        found = _mapped(entry, count, shape)
        if found.fingerprint != fingerprint:  # reads all pixels: they would make numbers under the keys of other ones
            return None
        notes.update(manifest["notes"])
        return found
    except (OSError, ValueError, KeyError, TypeError, DataError):
        return None


def _mapped(entry: Path, count: int, shape: tuple[int, ...], fingerprint: str | None = None) -> ImageSet:
    """The files of an entry as one set; ValueError where their sizes do not fit.

    Args:
        entry: Folder of the files.
        count: Images.
        shape: (C, H, W).
        fingerprint: The set's, where it is known: to compute it reads all pixels.
    """
    pixels = np.memmap(entry / "pixels.u8", np.uint8, "c")
    labels = np.fromfile(entry / "labels.i64", "<i8")
    if pixels.size != count * int(np.prod(shape)) or labels.size != count:
        raise ValueError(f"{entry} does not have {count} images of shape {shape}")
    images = torch.from_numpy(pixels.reshape(count, *shape))
    found = ImageSet(images, torch.from_numpy(labels.astype(np.int64, copy=False)))
    if fingerprint is not None:
        found.__dict__["fingerprint"] = fingerprint  # where its cached_property would put it
    return found


def _make(entry: Path, make: Callable[[], Iterable[ImageSet]], notes: dict[str, Any]) -> ImageSet:
    """Write the entry and map it. The caller holds the lock, so what lies under these names is nobody's."""
    part = entry.with_name(f".{entry.name}.part")
    with _writing(entry):
        _remove(part)
        part.mkdir()
    try:
        with undone(partial(shutil.rmtree, part, ignore_errors=True)):
            count, shape = _write_parts(part, make)
        with _writing(entry):
            fingerprint = _mapped(part, count, shape).fingerprint  # hashed from the file: the count comes first in it
            manifest = {
                "schema": SCHEMA, "count": count, "shape": shape, "fingerprint": fingerprint, "notes": notes
            }  # fmt: skip
            with (part / "manifest.json").open("w") as file:
                json.dump(manifest, file)
                file.flush()
                os.fsync(file)
            _sync_folder(part)
            _remove(entry)  # damaged, or of another schema
            part.rename(entry)
            _sync_folder(entry.parent)
            return _mapped(entry, count, shape, fingerprint)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def _write_parts(part: Path, make: Callable[[], Iterable[ImageSet]]) -> tuple[int, tuple[int, ...]]:
    """Append all parts to the two files; the count of images and the shape of one."""
    count, shape = 0, tuple[int, ...]()
    with _writing(part):
        pixels, labels = (part / "pixels.u8").open("wb", 0), (part / "labels.i64").open("wb", 0)
    with pixels, labels:

        def append(images: ImageSet) -> None:
            nonlocal count, shape
            found = tuple(images.images.shape[1:])
            if shape not in ((), found):
                raise DataError(f"parts of one set have images of shape {shape} and {found}: expected one shape.")
            with _writing(part):
                for chunk in images.images.split(CHUNK):
                    _write(pixels, chunk.numpy())
                _write(labels, images.labels.numpy().astype("<i8"))
            count, shape = count + len(images), found

        for _ in map(append, make()):  # no name keeps a part while the next one is made
            pass
        if count == 0:
            raise DataError("a split has no images: expected at least one.")
        with _writing(part):
            for file in (pixels, labels):
                os.fsync(file)
    return count, shape


def _write(file: io.FileIO, array: NDArray[Any]) -> None:
    """All bytes of an array. Without a buffer, closing the file writes nothing more and cannot fail."""
    content = array.reshape(-1).view(np.uint8).data
    while content:
        content = content[file.write(content) :]


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Errors of the disk become one sentence. Not put around ``make``: what it reads is no matter of this folder."""
    try:
        yield
    except OSError as error:
        raise ResultsError(
            f"cannot write {path} ({error.strerror or error}): free the disk, or set data.cache to a writable folder."
        ) from error


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove(path: Path) -> None:
    """Remove a file or a folder with all in it, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
