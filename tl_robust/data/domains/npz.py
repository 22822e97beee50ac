"""Image sets of your own, as numpy arrays."""

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from numpy.lib import format as npy
from numpy.typing import NDArray
from typing_extensions import override

from tl_robust.data.declared_size import LARGEST, check_declared
from tl_robust.data.domain import DOMAINS, GenericDomain, Split
from tl_robust.data.names import Names, class_file
from tl_robust.errors import DataError
from tl_robust.types import ImageSet

CHUNK = 1 << 25  # bytes of pixels read at a time: 10,922 images of 32x32, 222 of 224x224
MOST = 100_000  # classes that a set may have
LONGEST = 4096  # bytes that the name of a class may have


@DOMAINS.register
class Npz(GenericDomain):
    """Images of one size as numpy arrays: ``npz:NAME`` reads ``NAME_train.npz`` and ``NAME_test.npz``.

    Format: two files as ``np.savez`` and ``np.savez_compressed`` write them, in ``data.root`` or in a folder under it
    (``npz:FOLDER/NAME``). Each has ``images``, uint8 [N,H,W,3], [N,H,W,1] or [N,H,W] (also [N,3,H,W] and [N,1,H,W],
    where the sides are neither 1 nor 3), and ``labels``, integers [N] from 0. Nothing is unpickled. Names of classes:
    those that a bench file gives under ``domains:``; else the array ``classes`` (texts) of the training file; else
    ``NAME_classes.txt``, line k (from 0) for label k; else the numbers themselves, up to the largest label of both
    files. An empty name is no class. Splits: the two files. Images are read in parts and need not fit into memory.
    License: that of your files. Paper: none, this is a layout and not a data set.
    """

    by_hand = "their source"

    def __init__(self, argument: str, classes: Names | str = ()) -> None:
        super().__init__(argument, classes)
        self.files = f"{argument}_train.npz and {argument}_test.npz"

    @override
    def parts(self, split: Split, root: Path, download: bool) -> Iterator[ImageSet]:
        path = self._file(split, root)
        labels = torch.from_numpy(_labels(path))
        with _opened(path, "images") as (stream, shape, kind):
            axes = (*shape, 1) if len(shape) == 3 else shape
            first, last = (len(axes) == 4 and min(axes) > 0 and axes[place] in (1, 3) for place in (1, 3))
            if kind != np.uint8 or first == last:
                raise DataError(
                    f"{path.name} has images {kind} {list(shape)}, not uint8 [N,H,W,3] or [N,H,W] from 0 to 255 (nor "
                    "[N,H,W,1], [N,3,H,W] or [N,1,H,W])"
                )
            if shape[0] != len(labels):
                raise DataError(f"{path.name} has {shape[0]} images and {len(labels)} labels")
            bytes_each = prod(shape[1:])
            if bytes_each > LARGEST:
                raise DataError(f"{path.name} says that an image has {bytes_each:,} bytes, more than {LARGEST:,}")
            for chunk in labels.split(max(1, CHUNK // bytes_each)):
                pixels = np.frombuffer(_exactly(stream, len(chunk) * bytes_each), np.uint8).reshape(-1, *axes[1:])
                planes = pixels.transpose(0, 3, 1, 2) if last else pixels
                yield ImageSet(torch.from_numpy(np.array(planes, order="C")), chunk)

    @override
    def paths(self, split: Split, root: Path) -> list[Path]:
        # Besides the split's own file, those that the names of the classes are read from.
        own = self._file(split, root)
        if self.given:
            return [own, root / self.given] if isinstance(self.given, str) else [own]
        naming = (self._file("train", root), self._file("test", root), self._class_file(root))
        return [own, *(path for path in naming if path != own and path.is_file())]

    @override
    def found_names(self, root: Path) -> Names:
        names = _names(self._file("train", root))
        if names:
            return names
        if self._class_file(root).is_file():
            return class_file(self._class_file(root))
        last = {path.name: int(_labels(path).max()) for path in (self._file("train", root), self._file("test", root))}
        for name, label in last.items():
            if label >= MOST:
                raise DataError(f"{name} has the label {label}, which is too large without names of the classes")
        return tuple(str(label) for label in range(max(last.values()) + 1))

    def _file(self, split: Split, root: Path) -> Path:
        return root / f"{self.argument}_{split}.npz"

    def _class_file(self, root: Path) -> Path:
        return root / f"{self.argument}_classes.txt"


def _labels(path: Path) -> NDArray[np.int64]:
    with _opened(path, "labels") as (stream, shape, kind):
        if kind.kind not in "iu" or len(shape) != 1:
            raise DataError(f"{path.name} has labels {kind} {list(shape)}, not integers [N]")
        count = _count(path)
        if count not in (None, shape[0]):  # an error before the labels take memory
            raise DataError(f"{path.name} has {count} images and {shape[0]} labels")
        labels = np.frombuffer(_exactly(stream, shape[0] * kind.itemsize), kind).astype(np.int64)
    if len(labels) == 0:
        raise DataError(f"{path.name} has no image")
    if labels.min() < 0:
        raise DataError(f"{path.name} has the label {labels.min()}, expected 0 or more")
    return labels


def _count(path: Path) -> int | None:
    """How many images the header of the array says that there are; None where the file has no such array."""
    with _archive(path) as archive:
        if "images.npy" not in archive.namelist():
            return None
        with archive.open("images.npy") as stream:
            shape = _header(stream)[0]
    return shape[0] if shape else None


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape of an array, whether it is in Fortran order, and its type, from the first bytes of its file."""
    read = npy.read_array_header_1_0 if npy.read_magic(stream) == (1, 0) else npy.read_array_header_2_0
    shape, fortran, kind = read(stream)
    return shape, fortran, kind


def _names(path: Path) -> Names:
    """The names of classes in the file, none where it has no array of them."""
    with _archive(path) as archive:
        if "classes.npy" not in archive.namelist():
            return ()
    with _opened(path, "classes") as (stream, shape, kind):
        if kind.kind not in "US" or len(shape) != 1 or not shape[0]:
            raise DataError(f"{path.name} has classes {kind} {list(shape)}, not texts [K]")
        if shape[0] > MOST or kind.itemsize > LONGEST:
            raise DataError(f"{path.name} has {shape[0]:,} names of classes of {kind.itemsize:,} bytes each")
        names = np.frombuffer(_exactly(stream, shape[0] * kind.itemsize), kind).tolist()
    return tuple(name.decode() if isinstance(name, bytes) else name for name in names)


@contextmanager
def _archive(path: Path) -> Iterator[zipfile.ZipFile]:
    with path.open("rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                yield archive
        except DataError:
            raise
        except Exception as error:  # zip, zlib and numpy raise anything on a damaged file
            raise DataError(f"{path.name} is no npz file, or is damaged: {error}") from error


@contextmanager
def _opened(path: Path, name: str) -> Iterator[tuple[IO[bytes], tuple[int, ...], np.dtype[Any]]]:
    """One array of a file: its bytes from the first row on, its shape and its type. Reading it to its end checks it."""
    with _archive(path) as archive:
        if f"{name}.npy" not in archive.namelist():
            raise DataError(f"{path.name} does not have the array {name}")
        with archive.open(f"{name}.npy") as stream:
            shape, fortran, kind = _header(stream)
            if kind.hasobject:
                raise DataError(f"{path.name} has {name} of Python objects, which are not unpickled")
            if fortran:
                raise DataError(f"{path.name} has {name} in Fortran order: save np.ascontiguousarray({name})")
            packed = archive.getinfo(f"{name}.npy").compress_size
            large = CHUNK if name == "images" else None  # images are read in parts, labels and names at once
            stored = min(packed, path.stat().st_size)
            check_declared(f"{path.name}: the array {name}", prod(shape) * kind.itemsize, stored, large)
            yield stream, shape, kind
            if stream.read(1):  # zipfile compares the checksum when it reaches the end
                raise DataError(f"{path.name} has more {name} than their header says")


def _exactly(stream: IO[bytes], size: int) -> bytes:
    content = stream.read(size)
    if len(content) < size:
        raise EOFError("it ends early")
    return content
