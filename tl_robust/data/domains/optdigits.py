"""The handwritten digits inside scikit-learn."""

import gzip
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from typing_extensions import override

from tl_robust.data.domain import DOMAINS, Domain, Split
from tl_robust.errors import DataError
from tl_robust.seeding import generator
from tl_robust.types import ImageSet

SIZE = 1 << 20  # bytes of the unpacked table, which has 0.3 MB: what a damaged file may take at most


@DOMAINS.register
class Optdigits(Domain):
    """1,797 real handwritten digits, 8x8 gray with 17 levels, from 13 writers.

    Format: inside scikit-learn (its ``load_digits``), nothing to fetch. It is the test part of the UCI set "Optical
    Recognition of Handwritten Digits", which has no training part here, so the split is ours: in each class a fixed
    random third (600 images in all) is the test split; the same writers are in both. License: CC BY 4.0.
    Paper: Alpaydin and Kaynak, "Cascading classifiers", 1998.
    """

    classes = tuple("0123456789")

    @override
    def read(self, split: Split, root: Path, download: bool) -> ImageSet:
        table = torch.from_numpy(_table())
        images = table[:, :-1].mul(255 / 16).round().to(torch.uint8).reshape(-1, 1, 8, 8)
        labels = table[:, -1].long()
        order = torch.randperm(len(labels), generator=generator("optdigits", 1))
        test = torch.zeros(len(labels), dtype=torch.bool)
        for label in range(10):
            test[order[labels[order] == label][:60]] = True
        return ImageSet(images, labels).take((test if split == "test" else ~test).nonzero().squeeze(1))


def _table() -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """``[1797,65]``: pixels of 0 to 16, then the label; only the file is read: its package is slow to import."""
    package = find_spec("sklearn")
    path = Path(str(package.origin)).parent / "datasets" / "data" / "digits.csv.gz" if package else None
    if path is None or not path.is_file():
        raise DataError("its images come with a package that is not installed: pip install 'scikit-learn>=1.7'")
    with gzip.open(path) as file:
        table = np.loadtxt(BytesIO(file.read(SIZE)), delimiter=",", ndmin=2)
    if table.shape != (1797, 65) or table.min() < 0 or table.max() > 16:
        raise DataError(
            f"{path} has {list(table.shape)} numbers from {table.min():g} to {table.max():g}, not [1797, 65]"
        )
    return table
