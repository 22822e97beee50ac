"""Tables of images that come inside installed Python packages; they are read as files, so no code of a package runs."""

import gzip
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tl_robust.data.domain import Split
from tl_robust.errors import DataError
from tl_robust.seeding import generator
from tl_robust.types import ImageSet


def package_table(
    package: str, file: str, install: str, shape: tuple[int, int], highest: int, most: int, kind: type
) -> Tensor:
    """A table of numbers, with a row for each image, from a packed text file inside a package.

    Args:
        package: Name of the package that is imported.
        file: Path of the file below the folder of the package.
        install: What pip must install where the package is missing.
        shape: Rows and columns that the table must have.
        highest: The largest value that it may hold; the smallest is 0.
        most: Bytes that are unpacked at most, whatever a damaged file claims.
        kind: Type of the numbers.

    Raises:
        DataError: The package is not installed, or its file holds something else.
    """
    spec = find_spec(package)
    path = Path(spec.origin).parent / file if spec and spec.origin else None
    if path is None or not path.is_file():
        raise DataError(f"its images come with a package that is not installed: pip install '{install}'")
    with gzip.open(path) as packed:
        table: NDArray[Any] = np.loadtxt(BytesIO(packed.read(most)), delimiter=",", dtype=kind, ndmin=2)
    if table.shape != shape or table.min() < 0 or table.max() > highest:
        extremes = f"{table.min():g} to {table.max():g}"
        raise DataError(f"{path} has {list(table.shape)} numbers from {extremes}, not {list(shape)}")
    return torch.from_numpy(table)


def own_split(images: Tensor, labels: Tensor, draw: str, test_each: int, split: Split) -> ImageSet:
    """A split of a set that has no official ones: the test split is ``test_each`` random images of each digit.

    They are the same for ever, since the random draw has the name ``draw``.
    """
    order = torch.randperm(len(labels), generator=generator(draw, 1))
    test = torch.zeros(len(labels), dtype=torch.bool)
    for label in range(10):
        test[order[labels[order] == label][:test_each]] = True
    return ImageSet(images, labels).take((test if split == "test" else ~test).nonzero().squeeze(1))
