"""SVHN, street view house numbers."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from typing_extensions import override

from tl_robust.data.declared_size import check_declared
from tl_robust.data.domain import DOMAINS, Domain, Split, check_md5
from tl_robust.types import ImageSet

CHUNK = 8192  # images in a part


@DOMAINS.register
class Svhn(Domain):
    """Digits cropped from photographs of house numbers, 32x32 RGB, 73,257 training and 26,032 test images.

    Format: "Format 2", the MATLAB files ``train_32x32.mat`` and ``test_32x32.mat``; label 10 means digit 0. They must
    have the MD5 checksums that torchvision lists. Splits: the official ones; the domain ``svhn_extra`` also trains on
    the 531,131 easier extra images, as the code of the KDD 2020 paper does. License: for non-commercial use only.
    Paper: Netzer, Wang, Coates, Bissacco, Wu, Ng, "Reading digits in natural images with unsupervised feature
    learning", 2011, http://ufldl.stanford.edu/housenumbers. Neighbors of the digit are often seen at the sides.
    """

    classes = tuple("0123456789")
    files = "train_32x32.mat and test_32x32.mat"
    pieces: ClassVar[dict[Split, tuple[str, ...]]] = {"train": ("train",), "test": ("test",)}

    @override
    def parts(self, split: Split, root: Path, download: bool) -> Iterator[ImageSet]:
        from torchvision.datasets import SVHN  # slow to import, and most benches do without
        from torchvision.datasets.utils import download_url

        for piece in self.pieces[split]:  # every file is checked before a part of the first one is used
            url, file, md5 = SVHN.split_list[piece]
            if download:
                download_url(url, str(root), file, md5)
            check_md5(root / file, md5)
        for path in self.paths(split, root):
            yield from read_mat(path)

    @override
    def paths(self, split: Split, root: Path) -> list[Path]:
        return [root / f"{piece}_32x32.mat" for piece in self.pieces[split]]


def read_mat(path: Path) -> Iterator[ImageSet]:
    """Read a MATLAB file in the format of SVHN: ``X`` uint8 ``[32,32,3,N]`` and ``y`` ``[N,1]``, where 10 means 0.

    Yields:
        Images uint8 ``[N,3,32,32]`` and their labels, some thousands at a time: copies, so that only the array of the
        file (1.6 GB for the extra part) is held as a whole.

    Raises:
        ValueError: The file holds something else.
    """
    from scipy.io import loadmat, whosmat  # slow to import

    for name, shape, kind in whosmat(str(path)):  # reads the headers alone
        if name in ("X", "y"):
            width = np.dtype(kind).itemsize if kind in np.sctypeDict else 8
            check_declared(f"{path.name}: {name}", math.prod(map(int, shape)) * width, path.stat().st_size)
    content = loadmat(str(path), variable_names=["X", "y"])
    if not {"X", "y"} <= content.keys():
        raise ValueError(f"{path.name} does not have the variables X and y")
    pixels, labels = content["X"], content["y"].reshape(-1)
    if pixels.dtype != np.uint8 or pixels.shape != (32, 32, 3, len(labels)) or len(labels) == 0:
        raise ValueError(
            f"{path.name} has images {pixels.dtype} {list(pixels.shape)} and {len(labels)} labels, not uint8 "
            "[32, 32, 3, N] and N"
        )
    wrong = labels[~np.isin(labels, np.arange(11))]
    if len(wrong):
        raise ValueError(f"{path.name} has the label {wrong[0]}, not 0 to 10")
    images, digits = torch.from_numpy(pixels).permute(3, 2, 0, 1), torch.from_numpy(labels.astype(np.int64) % 10)
    for image_chunk, digit_chunk in zip(images.split(CHUNK), digits.split(CHUNK), strict=True):
        yield ImageSet(image_chunk.contiguous(), digit_chunk.clone())
