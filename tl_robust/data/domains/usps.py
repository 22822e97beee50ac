"""USPS."""

from pathlib import Path

import torch
from torchvision.datasets import USPS

from tl_robust.data.domain import DOMAINS, Domain, Split, reading
from tl_robust.types import ImageSet


@DOMAINS.register
class Usps(Domain):
    """Digits from envelopes, 16x16 gray, 7,291 training and 2,007 test images (the KDD 2020 paper had 7,438 and 1,860).

    Format: libsvm text, ``usps.bz2`` and ``usps.t.bz2``, as torchvision fetches them; labels 1 to 10 mean digits 0
    to 9, pixels lie in [-1, 1]. Splits: the official ones. License: none stated; in common use for research.
    Paper: Hull, "A database for handwritten text recognition research", 1994.
    """

    classes = tuple("0123456789")

    def load(self, split: Split, root: Path, download: bool) -> ImageSet:
        """See :meth:`Domain.load`."""
        with reading("usps", root, "usps.bz2 and usps.t.bz2"):
            data = USPS(str(root), train=split == "train", download=download)
            return ImageSet(torch.from_numpy(data.data)[:, None], torch.tensor(data.targets))
