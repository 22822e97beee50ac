"""The handwritten digits inside scikit-learn."""

from pathlib import Path

import torch
from sklearn.datasets import load_digits

from tl_robust.data.domain import DOMAINS, Domain, Split
from tl_robust.seeding import generator
from tl_robust.types import ImageSet


@DOMAINS.register
class Optdigits(Domain):
    """1,797 real handwritten digits, 8x8 gray with 17 levels, from 13 writers.

    Format: inside scikit-learn (``load_digits``), nothing to fetch. It is the test part of the UCI set "Optical
    Recognition of Handwritten Digits", which has no training part here, so the split is ours: in each class a fixed
    random third (600 images in all) is the test split; the same writers are in both. License: CC BY 4.0.
    Paper: Alpaydin and Kaynak, "Cascading classifiers", 1998.
    """

    classes = tuple("0123456789")

    def read(self, split: Split, root: Path, download: bool) -> ImageSet:
        """See :meth:`Domain.read`."""
        bunch = load_digits()
        images = torch.from_numpy(bunch.images).mul(255 / 16).round().to(torch.uint8)[:, None]
        labels = torch.from_numpy(bunch.target).long()
        order = torch.randperm(len(labels), generator=generator("optdigits", 1))
        test = torch.zeros(len(labels), dtype=torch.bool)
        for label in range(10):
            test[order[labels[order] == label][:60]] = True
        return ImageSet(images, labels).take((test if split == "test" else ~test).nonzero().squeeze(1))
