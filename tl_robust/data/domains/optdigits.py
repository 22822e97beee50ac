"""The handwritten digits inside scikit-learn."""

from pathlib import Path

import numpy as np
import torch
from typing_extensions import override

from tl_robust.data.domain import DOMAINS, Domain, Split
from tl_robust.data.package_table import own_split, package_table
from tl_robust.types import ImageSet

FILE = "datasets/data/digits.csv.gz"
SIZE = 1 << 20  # bytes that may be unpacked at most; the table has 0.3 MB


@DOMAINS.register
class Optdigits(Domain):
    """1,797 real handwritten digits, 8x8 gray with 17 levels, from 13 writers.

    Format: inside scikit-learn (its ``load_digits``), nothing to fetch. It is the test part of the UCI set "Optical
    Recognition of Handwritten Digits" (https://doi.org/10.24432/C50P49), which has no training part here, so the split
    is ours: in each class a fixed random third (600 images in all) is the test split; the same writers are in both.
    Only the file is read, since scikit-learn is slow to import. License: CC BY 4.0.
    Paper: Alpaydin and Kaynak, "Cascading classifiers", Kybernetika 1998.
    """

    classes = tuple("0123456789")

    @override
    def read(self, split: Split, root: Path, download: bool) -> ImageSet:
        table = package_table("sklearn", FILE, "scikit-learn>=1.7", (1797, 65), 16, SIZE, np.float64)
        images = table[:, :-1].mul(255 / 16).round().to(torch.uint8).reshape(-1, 1, 8, 8)
        return own_split(images, table[:, -1].long(), "optdigits", 60, split)
