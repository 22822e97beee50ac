"""MNIST."""

import math
from pathlib import Path

from typing_extensions import override

from tl_robust.data.declared_size import check_declared
from tl_robust.data.domain import DOMAINS, Domain, Split
from tl_robust.errors import DataError
from tl_robust.types import ImageSet


@DOMAINS.register
class Mnist(Domain):
    """Handwritten digits, 28x28 gray, 60,000 training and 10,000 test images.

    Format: the original idx files in torchvision's layout, ``MNIST/raw/*-ubyte``. Splits: the official ones.
    License: CC BY-SA 3.0. Paper: LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document
    recognition", 1998, https://doi.org/10.1109/5.726791.
    """

    classes = tuple("0123456789")
    files = "MNIST/raw/{train,t10k}-{images-idx3,labels-idx1}-ubyte"

    @override
    def read(self, split: Split, root: Path, download: bool) -> ImageSet:
        from torchvision.datasets import MNIST  # slow to import, and most benches do without

        for path in self.paths(split, root):
            if path.is_file():
                _check_header(path)
        data = MNIST(str(root), train=split == "train", download=download)
        if len(data.data) != len(data.targets):
            raise DataError(f"{len(data.data)} images and {len(data.targets)} labels")
        return ImageSet(data.data[:, None], data.targets.long())

    @override
    def paths(self, split: Split, root: Path) -> list[Path]:
        prefix = "train" if split == "train" else "t10k"
        return [root / "MNIST" / "raw" / f"{prefix}-{which}-ubyte" for which in ("images-idx3", "labels-idx1")]


def _check_header(path: Path) -> None:
    """Check that an idx file is as long as its header says, before torchvision reads all of it into memory."""
    with path.open("rb") as file:
        magic = file.read(4)
        sizes = [int.from_bytes(file.read(4), "big") for _ in range(magic[3] if len(magic) == 4 else 0)][:4]
    declared = math.prod(sizes) + 4 + 4 * len(sizes)
    check_declared(path.name, path.stat().st_size, path.stat().st_size)
    if declared != path.stat().st_size:
        raise DataError(f"{path.name} has {path.stat().st_size:,} bytes, and says that it has {declared:,}")
