"""Records as text: base64 of zlib of each array, which JSON can hold and which runs nothing when it is read."""

from __future__ import annotations

import base64
import math
import zlib
from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from tl_robust.types import Column, Record

INTEGERS = ("int8", "int16", "int32", "int64")
EXPANSION = 800  # deflate makes at most 1032 bytes of one, and four letters of base64 are three bytes
LIMIT = 64 << 20  # bytes of an array: 16 million float32, for example 1,000 eps of 10,000 images and more
R = TypeVar("R", bound=Record)


def pack(record: Record) -> dict[str, Any]:
    """Fields by name, as ``dtype``, ``shape`` and ``data``; integers in the fewest bytes that hold them."""
    packed = {}
    for name, tensor in record.tensors().items():
        array = tensor.numpy()
        if array.dtype.kind == "i":
            array = array.astype(next(kind for kind in INTEGERS if (array.astype(kind) == array).all()))
        data = base64.b64encode(zlib.compress(array.astype(array.dtype.newbyteorder("<")).tobytes(), 9)).decode()
        packed[name] = {"dtype": array.dtype.name, "shape": list(array.shape), "data": data}
    return packed


def unpack(kind: type[R], packed: Mapping[str, Mapping[str, Any]]) -> R:
    """The record of :func:`pack`.

    Args:
        kind: The class of the record.
        packed: What a file says, of the form that ``leaderboard.schema.json`` describes.

    Raises:
        ValueError: An array is damaged, or is none of such a record.
    """
    try:
        total = sum(math.prod(item["shape"]) * np.dtype(item["dtype"]).itemsize for item in packed.values())
        if total > 4 * LIMIT:
            raise ValueError(f"its arrays declare {total} bytes, at most {4 * LIMIT} are read")
        columns = kind.columns()
        tensors = {name: _array(name, item, columns.get(name)) for name, item in packed.items()}
        return kind.of(tensors)
    except zlib.error as error:
        raise ValueError(str(error)) from error


def _array(name: str, item: Mapping[str, Any], declared: Column | None) -> Tensor:
    stored = np.dtype(item["dtype"]).newbyteorder("<")
    wanted = torch.zeros(0, dtype=declared.dtype).numpy().dtype if declared else stored
    if stored.kind != wanted.kind:
        raise ValueError(f"{name} cannot be {item['dtype']}")
    size = math.prod(item["shape"]) * stored.itemsize
    if size > EXPANSION * (len(item["data"]) + 100) or size > LIMIT:
        raise ValueError(f"{name} declares {size} bytes, more than its text or any test set can hold")
    stream = zlib.decompressobj()
    data = stream.decompress(base64.b64decode(item["data"], validate=True), size + 1)  # no more than was announced
    if len(data) != size or not stream.eof:
        raise ValueError(f"{name} has not the {size} bytes of its shape")
    return torch.from_numpy(np.frombuffer(data, stored).reshape(item["shape"]).astype(wanted.newbyteorder("=")))
