"""CIFAR-10."""

from pathlib import Path

import torch
from typing_extensions import override

from tl_robust.data.domain import DOMAINS, Domain, Split, check_md5
from tl_robust.types import ImageSet


@DOMAINS.register
class Cifar10(Domain):
    """Ten kinds of animals and vehicles, 32x32 RGB, 50,000 training and 10,000 test images, balanced.

    Format: the Python version in torchvision's layout, the folder ``cifar-10-batches-py``. Its files are pickles, which
    could run code: torchvision unpickles them, after every file was found to have its published MD5 checksum. Splits:
    the official ones. License: none stated; in common use for research. Paper: Krizhevsky, "Learning multiple layers
    of features from tiny images", 2009, https://www.cs.toronto.edu/~kriz/learning-features-2009-TR.pdf. Differences:
    ``automobile`` is named ``car`` here, as in STL-10; frog is read, and left out by the space ``objects`` (45,000 and
    9,000 images remain).
    """

    files = "cifar-10-batches-py/{data_batch_1 to data_batch_5,test_batch,batches.meta}"
    classes = ("airplane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

    @override
    def read(self, split: Split, root: Path, download: bool) -> ImageSet:
        from torchvision.datasets import CIFAR10  # slow to import, and most benches do without

        files = [*CIFAR10.train_list, *CIFAR10.test_list, (CIFAR10.meta["filename"], CIFAR10.meta["md5"])]
        for file, md5 in () if download else files:  # torchvision checks them too, but not which is wrong
            check_md5(root / CIFAR10.base_folder / file, md5)
        data = CIFAR10(str(root), train=split == "train", download=download)
        return ImageSet(torch.from_numpy(data.data).permute(0, 3, 1, 2).contiguous(), torch.tensor(data.targets))

    @override
    def paths(self, split: Split, root: Path) -> list[Path]:
        names = [f"data_batch_{number}" for number in range(1, 6)] if split == "train" else ["test_batch"]
        return [root / "cifar-10-batches-py" / name for name in names]
