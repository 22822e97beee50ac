"""STL-10, its labeled part."""

from pathlib import Path

import numpy as np
import torch
from typing_extensions import override

from tl_robust.data.domain import DOMAINS, Domain, Split, check_md5
from tl_robust.types import ImageSet


@DOMAINS.register
class Stl10(Domain):
    """Ten kinds of animals and vehicles, 96x96 RGB, 5,000 training and 8,000 test images, balanced.

    Format: the binary version, ``stl10_binary/{train,test}_{X,y}.bin``: bytes without a header, an image as three
    planes, each column by column; labels 1 to 10. The files must have the MD5 checksums that torchvision lists.
    Splits: the official ones, without the ten folds; the 100,000 unlabeled images are not needed (torchvision's own
    reader insists on them). License: none stated; the images come from ImageNet, for non-commercial research.
    Paper: Coates, Lee, Ng, "An analysis of single-layer networks in unsupervised feature learning", AISTATS
    2011, https://proceedings.mlr.press/v15/coates11a.html.
    Differences: monkey is read, and left out by the space ``objects`` (4,500 and 7,200 images remain).
    """

    files = "stl10_binary/{train,test}_{X,y}.bin"
    classes = ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck")

    @override
    def read(self, split: Split, root: Path, download: bool) -> ImageSet:
        from torchvision.datasets import STL10  # slow to import, and most benches do without
        from torchvision.datasets.utils import check_integrity, download_and_extract_archive

        folder = root / STL10.base_folder
        files = (STL10.train_list if split == "train" else STL10.test_list)[:2]
        if download and not all(check_integrity(folder / file, md5) for file, md5 in files):
            download_and_extract_archive(STL10.url, str(root), filename=STL10.filename, md5=STL10.tgz_md5)
        for file, md5 in files:
            check_md5(folder / file, md5)
        pixels, labels = (torch.from_numpy(np.fromfile(folder / file, np.uint8)) for file, _ in files)
        images = pixels.view(-1, 3, 96, 96).transpose(2, 3).contiguous()
        return ImageSet(images, labels.long() - 1)

    @override
    def paths(self, split: Split, root: Path) -> list[Path]:
        return [root / "stl10_binary" / f"{split}_{which}.bin" for which in "Xy"]
