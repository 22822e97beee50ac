"""MNIST."""

from pathlib import Path

from tl_robust.data.domain import DOMAINS, Domain, Split
from tl_robust.errors import DataError
from tl_robust.types import ImageSet


@DOMAINS.register
class Mnist(Domain):
    """Handwritten digits, 28x28 gray, 60,000 training and 10,000 test images.

    Format: the original idx files in torchvision's layout, ``MNIST/raw/*-ubyte``. Splits: the official ones.
    License: CC BY-SA 3.0. Paper: LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document
    recognition", 1998.
    """

    classes = tuple("0123456789")
    files = "MNIST/raw/{train,t10k}-{images-idx3,labels-idx1}-ubyte"

    def read(self, split: Split, root: Path, download: bool) -> ImageSet:
        """See :meth:`Domain.read`."""
        from torchvision.datasets import MNIST  # slow to import, and most benches do without

        data = MNIST(str(root), train=split == "train", download=download)
        if len(data.data) != len(data.targets):
            raise DataError(f"{len(data.data)} images and {len(data.targets)} labels")
        return ImageSet(data.data[:, None], data.targets.long())

    def paths(self, split: Split, root: Path) -> list[Path]:
        """See :meth:`Domain.paths`."""
        prefix = "train" if split == "train" else "t10k"
        return [root / "MNIST" / "raw" / f"{prefix}-{which}-ubyte" for which in ("images-idx3", "labels-idx1")]
