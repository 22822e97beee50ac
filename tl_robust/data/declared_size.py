"""The size that a file declares is checked before memory is taken for it, since a small file may claim any size."""

from __future__ import annotations

import bz2
from pathlib import Path

from tl_robust.data.batches import available_memory
from tl_robust.errors import DataError

DEFLATE = 1032  # bytes that zlib unpacks from one byte at most: https://zlib.net/zlib_tech.html
OVERHEAD = 1 << 16  # bytes that headers may add to the array
LARGEST = 1 << 28  # bytes of one image at most


def check_declared(what: str, size: int, stored: int, at_once: int | None = None) -> None:
    """Check that an array can be as large as its header says.

    Args:
        what: How an error calls the array.
        size: Bytes that the header declares.
        stored: Bytes of the file, or of its compressed part.
        at_once: Bytes that are held in memory at once, where that is not the whole array.

    Raises:
        DataError: The file or the free memory is too small to hold as much.
    """
    if not 0 <= size <= DEFLATE * stored + OVERHEAD:
        raise DataError(f"{what} would have {size:,} bytes, but its {stored:,} bytes cannot unpack to as many")
    wanted, free = size if at_once is None else at_once, available_memory()
    if free is not None and wanted > free:
        raise DataError(f"{what} needs {wanted / 1e9:.1f} GB of memory at once, and {free / 1e9:.1f} GB are free")


def unpacked_bz2(path: Path, most: int) -> bytes:
    """The content of a bz2 file, of which at most ``most`` bytes are unpacked.

    Raises:
        DataError: The content is longer than that.
    """
    with bz2.open(path) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise DataError(f"{path.name} unpacks to more than {most:,} bytes, which the official file does not")
    return content
