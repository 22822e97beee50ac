"""SVHN with its extra training images."""

from tl_robust.data.domain import DOMAINS
from tl_robust.data.domains.svhn import Svhn


@DOMAINS.register
class SvhnExtra(Svhn):
    """SVHN as the code of the KDD 2020 paper has it: 604,388 training (531,131 of them extra) and 26,032 test images.

    Format: as ``svhn``, and ``extra_32x32.mat`` (1.3 GB; 1.6 GB in memory while it is read).
    Splits: the official ones, the extra part after the training part; extra images are easier than the others.
    License: for non-commercial use only. Paper: as ``svhn``.
    """

    files = "train_32x32.mat, extra_32x32.mat and test_32x32.mat"
    pieces = {"train": ("train", "extra"), "test": ("test",)}
