"""What a file declares, compared with what can be, before memory is taken: a small file may claim to hold anything."""

from __future__ import annotations

import bz2
from pathlib import Path

from tl_robust.data.batches import available_memory
from tl_robust.errors import DataError

DEFLATE = 1032  # what zlib can make of one byte, at most: https://zlib.net/zlib_tech.html
OVERHEAD = 1 << 16  # bytes of headers
LARGEST = 1 << 28  # bytes of one image


def check_declared(what: str, size: int, stored: int, at_once: int | None = None) -> None:
    """Whether an array can be as large as its header says.

    Args:
        what: The array, as errors name it.
        size: Bytes that the header declares.
        stored: Bytes of the file, or of its compressed part.
        at_once: Bytes that are held in memory at once, where that is not all of them.

    Raises:
        DataError: The file cannot hold as much, or the memory cannot.
    """
    if not 0 <= size <= DEFLATE * stored + OVERHEAD:
        raise DataError(f"{what} would have {size:,} bytes, but its {stored:,} bytes cannot unpack to as many")
    wanted, free = size if at_once is None else at_once, available_memory()
    if free is not None and wanted > free:
        raise DataError(f"{what} needs {wanted / 1e9:.1f} GB of memory at once, and {free / 1e9:.1f} GB are free")


def unpacked_bz2(path: Path, most: int) -> bytes:
    """The content of a bz2 file.

    Raises:
        DataError: It is more than ``most`` bytes; no more than these are unpacked.
    """
    with bz2.open(path) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise DataError(f"{path.name} unpacks to more than {most:,} bytes, which the official file does not")
    return content
