"""The tensors in the file of a checkpoint: first the shapes and types that it declares, later the numbers of each.

So a small file that unpacks to much more is refused for its shapes before memory is taken for it. No pickled code runs.
"""

from __future__ import annotations

import io
import math
import warnings
import zipfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from tl_robust.errors import DataError

TORCH = (".pt", ".pth", ".bin", ".ckpt")
# Under one of these names the checkpoint of a training holds the weights; the first that is there is taken.
NESTED = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "module")
DEEP = 8  # how deep such entries may lie within each other
HEADER = 10_000  # bytes that the header of an array may have, which is numpy's own limit
OBJECTS = "it holds no plain tensors, and Python objects are never loaded"


@dataclass(frozen=True)
class Entry:
    """One tensor of a file.

    Attributes:
        shape: The shape that the file declares.
        dtype: The type that the file declares.
        read: Reads the numbers; the file must still be open.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    read: Callable[[], Tensor]


def entries(path: Path, stack: ExitStack) -> dict[str, Entry]:
    """Every tensor of a file by name.

    Args:
        path: ``.safetensors``, ``.npz``, or what ``torch.save`` wrote.
        stack: Keeps the file open until the caller has read what it needs.

    Raises:
        Exception: Whatever a reader raises on a damaged file; DataError where the content is no state dict.
    """
    if path.suffix == ".safetensors":
        return _of_safetensors(path, stack)
    if path.suffix == ".npz":
        return _of_npz(path, stack)
    return of_tensors(_loaded(path))


def of_tensors(content: Any) -> dict[str, Entry]:
    """The weights in a loaded file, which may lie in an entry of a training's checkpoint, or in an entry of that.

    Raises:
        DataError: There is no state dict in it.
    """
    for _ in range(DEEP):  # limited, since a mapping may contain itself
        if isinstance(content, Mapping):
            content = next((content[key] for key in NESTED if isinstance(content.get(key), Mapping)), content)
    if not isinstance(content, Mapping) or not content:
        raise DataError(f"{type(content).__name__} in place of a state dict")
    for name, value in content.items():
        dense = isinstance(value, Tensor) and value.layout is torch.strided
        if not dense or value.is_quantized or value.is_complex():
            raise DataError(f"entry {name!r} is no dense tensor of real numbers")
    return {str(name): Entry(tuple(value.shape), value.dtype, value.detach) for name, value in content.items()}


def _loaded(path: Path) -> Any:
    """What ``torch.save`` wrote. Numbers stay in the file until they are used, except in files of old versions."""
    with path.open("rb") as file:
        archived = file.read(4) == b"PK\x03\x04"
    if archived:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                if info.compress_type != zipfile.ZIP_STORED:
                    raise DataError(f"entry {info.filename!r} is compressed, which torch.save never does")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of old pickles, beside the error that a user is told
        return torch.load(str(path), weights_only=True, map_location="cpu", mmap=archived)


def _of_safetensors(path: Path, stack: ExitStack) -> dict[str, Entry]:
    file = stack.enter_context(safe_open(path, framework="pt"))
    tensors = {}
    for name in file.keys():  # noqa: SIM118  (the file is no mapping)
        lazy = file.get_slice(name)
        shape = tuple(lazy.get_shape())
        empty = lazy[:0] if shape else file.get_tensor(name)
        tensors[name] = Entry(shape, empty.dtype, partial(file.get_tensor, name))
    if not tensors:
        raise DataError("no tensor in place of a state dict")
    return tensors


def _of_npz(path: Path, stack: ExitStack) -> dict[str, Entry]:
    if not zipfile.is_zipfile(path):
        raise DataError("no zip archive")
    archive = stack.enter_context(zipfile.ZipFile(path))
    arrays: dict[str, Entry] = {}
    for info in archive.infolist():
        name = info.filename.removesuffix(".npy")
        if name == info.filename:
            raise DataError(f"{name!r} in it is no array")
        if name in arrays:
            raise DataError(f"two arrays are named {name!r}")
        with archive.open(info) as file:
            shape, dtype = _header(file)
            declared = file.tell() + math.prod(shape) * dtype.itemsize
        if dtype.hasobject:
            raise DataError(OBJECTS)
        if dtype.kind not in "fiub":
            raise DataError(f"entry {name!r} is no dense tensor of real numbers")
        if declared != info.file_size:
            raise DataError(f"array {name!r} declares {declared} bytes and has {info.file_size}")
        kind = torch.from_numpy(np.empty(0, dtype.newbyteorder("="))).dtype
        arrays[name] = Entry(shape, kind, partial(_array, archive, info))
    if not arrays:
        raise DataError("no array in place of a state dict")
    return arrays


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type of an array, from the first bytes of its file alone."""
    version = np.lib.format.read_magic(file)
    width = 2 if version == (1, 0) else 4
    size = file.read(width)
    if int.from_bytes(size, "little") > HEADER:
        raise DataError(f"an array's header of {int.from_bytes(size, 'little')} bytes")
    head = io.BytesIO(size + file.read(int.from_bytes(size, "little")))
    read = np.lib.format.read_array_header_1_0 if width == 2 else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(head)
    return shape, dtype


def _array(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Tensor:
    with archive.open(info) as file:
        array = np.lib.format.read_array(file, allow_pickle=False)
        if file.read(1):  # zipfile compares the checksum when it reaches the end
            raise DataError(f"array {info.filename!r} goes on after its end")
    return torch.from_numpy(array.astype(array.dtype.newbyteorder("=")))
