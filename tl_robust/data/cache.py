"""Decoded image sets on disk, mapped into memory: a set larger than memory, decoded once for all processes.

An entry is a folder named by its key, with the pixels, the labels and a manifest. It is written under another name, the
manifest last, and then renamed, so that what a killed process leaves behind never counts as present.
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
CHUNK = 1024  # images that are written at a time


def cached(
    folder: Path, key: str, make: Callable[[], Iterable[ImageSet]], notes: dict[str, Any] | None = None
) -> ImageSet:
    """The image set of a key: mapped if it is present and whole, else made, written and mapped.

    Pixels and labels are hashed and compared with the fingerprint of the manifest (1.4 GB/s on one core): what has
    rotted on a disk is made again, and one line says so. Where several processes call this at once, one makes the set
    and the others wait for it.

    Args:
        folder: Folder of the cache; made where it is missing.
        key: Name of the entry, a file name. It must change with everything that changes the pixels.
        make: Gives the set in parts, in order, of one image shape. Only one part at a time is in memory.
        notes: Plain values that ``make`` puts here are kept beside the pixels, and put here again by a later call.

    Returns:
        All parts as one set. Its images are mapped from the file; to change them in memory does not change the file.

    Raises:
        DataError: The parts differ in image shape, or there is none.
        ResultsError: The folder cannot be written.
    """
    entry, notes = folder / key, {} if notes is None else notes
    images = _read(entry, notes)
    if images is None:
        with _writing(entry):
            folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(folder / f".{key}.lock")
            lock.acquire()
        try:
            images = _read(entry, notes)  # again: another process may have made it while this one waited
            if images is None:
                if (entry / "manifest.json").exists():  # told on the error stream: a command's output may be parsed
                    print(f"{entry} is damaged and is made again from the data.", file=sys.stderr)  # noqa: T201
                images = _make(entry, make, notes)
        finally:
            lock.release()
    return images


def _read(entry: Path, notes: dict[str, Any]) -> ImageSet | None:
    """The entry, mapped, after its notes were put into ``notes``; None where it is absent or damaged."""
    try:
        manifest = json.loads((entry / "manifest.json").read_bytes())
        if manifest["schema"] != SCHEMA:
            return None
        count, shape, fingerprint = int(manifest["count"]), tuple(manifest["shape"]), str(manifest["fingerprint"])
        images = _mapped(entry, count, shape)
        if images.fingerprint != fingerprint:  # damaged pixels would give results under the keys of the intact ones
            return None
        notes.update(manifest["notes"])
        return images
    except (OSError, ValueError, KeyError, TypeError, DataError):
        return None


def _mapped(entry: Path, count: int, shape: tuple[int, ...], fingerprint: str | None = None) -> ImageSet:
    """The files of an entry as one set; ValueError where they do not hold ``count`` images of ``shape`` (C, H, W).

    The set is told its fingerprint where the caller knows it, since computing one reads all pixels.
    """
    pixels = np.memmap(entry / "pixels.u8", np.uint8, "c")
    labels = np.fromfile(entry / "labels.i64", "<i8")
    if pixels.size != count * int(np.prod(shape)) or labels.size != count:
        raise ValueError(f"{entry} does not have {count} images of shape {shape}")
    pixels_NCHW = torch.from_numpy(pixels.reshape(count, *shape))
    images = ImageSet(pixels_NCHW, torch.from_numpy(labels.astype(np.int64, copy=False)))
    if fingerprint is not None:
        images.__dict__["fingerprint"] = fingerprint  # where the cached_property would put what it computes
    return images


def _make(entry: Path, make: Callable[[], Iterable[ImageSet]], notes: dict[str, Any]) -> ImageSet:
    """Write the entry and map it. The caller holds the lock, so whatever lies under these names belongs to nobody."""
    unfinished = entry.with_name(f".{entry.name}.part")
    with _writing(entry):
        _remove(unfinished)
        unfinished.mkdir()
    try:
        with undone(partial(shutil.rmtree, unfinished, ignore_errors=True)):
            count, shape = _write_parts(unfinished, make)
        with _writing(entry):
            # A fingerprint starts with the number of images, which is known only now, so it is hashed from the file.
            fingerprint = _mapped(unfinished, count, shape).fingerprint
            manifest = {
                "schema": SCHEMA, "count": count, "shape": shape, "fingerprint": fingerprint, "notes": notes
            }  # fmt: skip
            with (unfinished / "manifest.json").open("w") as file:
                json.dump(manifest, file)
                file.flush()
                os.fsync(file)
            _sync_folder(unfinished)
            _remove(entry)  # an entry that is damaged or of another schema, else it would have been read
            unfinished.rename(entry)
            _sync_folder(entry.parent)
            return _mapped(entry, count, shape, fingerprint)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise


def _write_parts(folder: Path, make: Callable[[], Iterable[ImageSet]]) -> tuple[int, tuple[int, ...]]:
    """Append all parts to the two files of ``folder``; returns how many images there are and the shape of one."""
    count, shape = 0, tuple[int, ...]()
    with _writing(folder):
        pixels, labels = (folder / "pixels.u8").open("wb", 0), (folder / "labels.i64").open("wb", 0)
    with pixels, labels:

        def append(images: ImageSet) -> None:
            nonlocal count, shape
            own_shape = tuple(images.images.shape[1:])
            if shape not in ((), own_shape):
                raise DataError(f"parts of one set have images of shape {shape} and {own_shape}: expected one shape.")
            with _writing(folder):
                for chunk in images.images.split(CHUNK):
                    _write(pixels, chunk.numpy())
                _write(labels, images.labels.numpy().astype("<i8"))
            count, shape = count + len(images), own_shape

        for _ in map(append, make()):  # a loop variable would keep a part in memory while the next one is made
            pass
        if count == 0:
            raise DataError("a split has no images: expected at least one.")
        with _writing(folder):
            for file in (pixels, labels):
                os.fsync(file)
    return count, shape


def _write(file: io.FileIO, array: NDArray[Any]) -> None:
    """Write all bytes of an array. The file has no buffer, so that closing it writes nothing more and cannot fail."""
    content = array.reshape(-1).view(np.uint8).data
    while content:
        content = content[file.write(content) :]


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Make one sentence of an error of the disk. It does not enclose ``make``, which may fail at reading elsewhere."""
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
