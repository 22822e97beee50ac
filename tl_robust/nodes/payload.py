"""What the entries of the store hold, as bytes and back: safetensors and compressed npz, which run nothing when read.

``pack_*`` and ``unpack_*`` belong together; what is read may be damaged, so every ``unpack_*`` raises ``ValueError``
and nothing else where the bytes are none that its ``pack_*`` made.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.lib import format as npy
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from tl_robust.types import Examination, Outcome, Pictures, Record

R = TypeVar("R", bound=Record)
EXPANSION = 1100  # deflate makes at most 1032 bytes of one


def pack_weights(state: Mapping[str, Tensor]) -> bytes:
    """A state dict as safetensors."""
    return save({name: value.detach().cpu().contiguous() for name, value in state.items()})


def unpack_weights(content: bytes) -> dict[str, Tensor]:
    """The state dict of :func:`pack_weights`."""
    try:
        return load(content)
    except SafetensorError as error:
        raise ValueError(f"no weights ({error})") from error


def pack_record(record: Record) -> bytes:
    """A record as a compressed npz, its fields in the order of their declarations."""
    return _pack(record.tensors())


def unpack_record(kind: type[R], content: bytes) -> R:
    """The record of :func:`pack_record`; field names, types and shapes are checked."""
    return kind.of(_unpack(content))


def pack_outcome(outcome: Outcome) -> bytes:
    """The record of evasion as a compressed npz."""
    return pack_record(outcome)


def unpack_outcome(content: bytes) -> Outcome:
    """The record of :func:`pack_outcome`."""
    return unpack_record(Outcome, content)


def pack_examination(examination: Examination) -> bytes:
    """An examination as a compressed npz."""
    return _pack({"sample_id": examination.sample_id, "eps": examination.eps, **examination.seen})


def unpack_examination(content: bytes) -> Examination:
    """The examination of :func:`pack_examination`."""
    arrays = _unpack(content)
    _expect(arrays, {"sample_id": (torch.int64, 1), "eps": (torch.float64, 1)})
    return Examination(arrays.pop("sample_id"), arrays.pop("eps"), arrays)


def pack_pictures(pictures: Pictures) -> bytes:
    """Pictures as a compressed npz."""
    classes = torch.tensor(list(json.dumps(pictures.classes).encode()), dtype=torch.uint8)
    return _pack(vars(pictures) | {"classes": classes})


def unpack_pictures(content: bytes) -> Pictures:
    """The pictures of :func:`pack_pictures`."""
    arrays, byte = _unpack(content), torch.uint8
    wanted = {"sample_id": (torch.int64, 1), "eps": (torch.float64, 1), "clean": (byte, 4), "adversarial": (byte, 5)}
    _expect(arrays, wanted | {"classes": (byte, 1)})
    clean, adversarial = arrays["clean"].shape, arrays["adversarial"].shape
    if adversarial != (len(arrays["eps"]), *clean) or len(arrays["sample_id"]) != clean[0]:
        raise ValueError(f"pictures of shapes {tuple(clean)} and {tuple(adversarial)}")
    classes = json.loads(bytes(arrays.pop("classes").tolist()))
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise ValueError("classes that are no texts")
    if arrays.keys() != wanted.keys():
        raise ValueError(f"unknown arrays {sorted(arrays.keys() - wanted.keys())}")
    return Pictures(classes=tuple(classes), **arrays)


def _expect(arrays: Mapping[str, Tensor], wanted: Mapping[str, tuple[torch.dtype, int]]) -> None:
    for name, (dtype, axes) in wanted.items():
        if name not in arrays or (arrays[name].dtype, arrays[name].ndim) != (dtype, axes):
            raise ValueError(f"expected {name} as {dtype} of {axes} axes")


def _pack(tensors: Mapping[str, Tensor]) -> bytes:
    file = io.BytesIO()
    arrays: dict[str, Any] = {name: value.numpy() for name, value in tensors.items()}
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def _unpack(content: bytes) -> dict[str, Tensor]:
    """Arrays by name; what a header declares is compared with what the bytes can hold before memory is taken."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            if not isinstance(arrays, np.lib.npyio.NpzFile) or arrays.zip is None:
                raise ValueError("one array instead of several by name")
            tensors = {}
            for item in arrays.zip.infolist():
                with arrays.zip.open(item) as member:
                    read = npy.read_array_header_2_0 if npy.read_magic(member)[0] == 2 else npy.read_array_header_1_0
                    shape, _, dtype = read(member)
                if item.file_size > EXPANSION * len(content) or math.prod(shape) * dtype.itemsize > item.file_size:
                    raise ValueError(f"{item.filename} declares more than it can hold")
            for name in arrays.files:
                tensors[name] = torch.from_numpy(arrays[name])
            return tensors
    except (OSError, EOFError, KeyError, TypeError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        raise ValueError(f"no arrays ({type(error).__name__}: {error})") from error
