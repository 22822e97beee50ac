"""SVHN, street view house numbers."""

from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from tl_robust.data.domain import DOMAINS, Domain, Split
from tl_robust.types import ImageSet


@DOMAINS.register
class Svhn(Domain):
    """Digits cropped from photographs of house numbers, 32x32 RGB, 73,257 training and 26,032 test images.

    Format: "Format 2", the MATLAB files ``train_32x32.mat`` and ``test_32x32.mat``; label 10 means digit 0. They must
    have the MD5 checksums that torchvision lists. Splits: the official ones; the domain ``svhn_extra`` also trains on
    the 531,131 easier extra images, as the code of the KDD 2020 paper does. License: for non-commercial use only.
    Paper: Netzer, Wang, Coates, Bissacco, Wu, Ng, "Reading digits in natural images with unsupervised feature
    learning", 2011. Neighbors of the digit are often seen at the sides.
    """

    classes = tuple("0123456789")
    files: ClassVar[str] = "train_32x32.mat and test_32x32.mat"
    parts: ClassVar[dict[Split, tuple[str, ...]]] = {"train": ("train",), "test": ("test",)}

    def read(self, split: Split, root: Path, download: bool) -> ImageSet:
        """See :meth:`Domain.read`."""
        from torchvision.datasets import SVHN  # slow to import, and most benches do without
        from torchvision.datasets.utils import check_integrity, download_url

        images, labels = [], []
        for part in self.parts[split]:
            url, file, md5 = SVHN.split_list[part]
            if download:
                download_url(url, str(root), file, md5)
            if not check_integrity(root / file, md5):
                (root / file).stat()  # raises where it is missing
                raise ValueError(f"{file} does not have its published MD5 checksum {md5}")
            part_images, part_labels = read_mat(root / file)
            images.append(part_images)
            labels.append(part_labels)
        return ImageSet(torch.cat(images).contiguous(), torch.cat(labels))


def read_mat(path: Path) -> tuple[Tensor, Tensor]:
    """Read a MATLAB file in the format of SVHN: ``X`` uint8 ``[32,32,3,N]`` and ``y`` ``[N,1]``, where 10 means 0.

    Returns:
        Images uint8 ``[N,3,32,32]``, a view that is not contiguous (the extra part has 1.6 GB), and labels ``[N]``.

    Raises:
        ValueError: The content is not that.
    """
    from scipy.io import loadmat  # slow to import

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
    return torch.from_numpy(pixels).permute(3, 2, 0, 1), torch.from_numpy(labels.astype(np.int64) % 10)
