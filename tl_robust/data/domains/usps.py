"""USPS."""

import io
from pathlib import Path

import numpy as np
import torch
from typing_extensions import override

from tl_robust.data.declared_size import unpacked_bz2
from tl_robust.data.domain import DOMAINS, Domain, Split
from tl_robust.errors import DataError
from tl_robust.types import ImageSet

MOST = 1 << 26  # bytes that may be unpacked: 7,291 lines of 256 numbers with up to 12 letters are a third of it


@DOMAINS.register
class Usps(Domain):
    """Digits from envelopes, 16x16 gray, 7,291 training and 2,007 test images (the KDD 2020 paper had 7,438 and 1,860).

    Format: libsvm text, ``usps.bz2`` and ``usps.t.bz2``, as torchvision fetches them; labels 1 to 10 mean digits 0
    to 9, pixels lie in [-1, 1]. Splits: the official ones. License: none stated; in common use for research.
    Paper: Hull, "A database for handwritten text recognition research", 1994, https://doi.org/10.1109/34.291440.
    """

    classes = tuple("0123456789")
    files = "usps.bz2 and usps.t.bz2"

    @override
    def read(self, split: Split, root: Path, download: bool) -> ImageSet:
        from sklearn.datasets import load_svmlight_file

        (path,) = self.paths(split, root)
        if download and not path.is_file():
            from torchvision.datasets import USPS

            USPS(str(root), train=split == "train", download=True)
        content = io.BytesIO(unpacked_bz2(path, MOST))
        rows, labels = load_svmlight_file(content, n_features=256, dtype=np.float32)
        if rows.nnz != 256 * len(labels):
            raise DataError(f"images must have 256 pixels each, got {rows.nnz} in {len(labels)} lines")
        pixels = torch.from_numpy(rows.toarray())
        if not bool((pixels.abs() <= 1).all()):  # written so that NaN fails too
            raise DataError("pixels must lie in [-1, 1]")
        images = ((pixels + 1) / 2 * 255).to(torch.uint8)  # rounded down, as torchvision does
        return ImageSet(images.view(-1, 1, 16, 16), torch.from_numpy(labels).long() - 1)

    @override
    def paths(self, split: Split, root: Path) -> list[Path]:
        return [root / ("usps.bz2" if split == "train" else "usps.t.bz2")]
