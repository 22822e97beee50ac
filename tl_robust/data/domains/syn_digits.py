"""SynDigits, the rendered digits of Ganin and Lempitsky."""

from collections.abc import Iterator
from pathlib import Path

from typing_extensions import override

from tl_robust.data.domain import DOMAINS, Domain, Split
from tl_robust.data.domains.svhn import read_mat
from tl_robust.types import ImageSet


@DOMAINS.register
class SynDigits(Domain):
    """Digits rendered from Windows fonts on busy grounds, 32x32 RGB, 479,400 training and 9,553 test images.

    Format: MATLAB files in the format of SVHN, ``synth_train_32x32.mat`` and ``synth_test_32x32.mat``, unpacked by hand
    from ``SynthDigits.zip``, which Yaroslav Ganin links at yaroslav.ganin.net; labels 0 to 9 (a 10 means 0, as in
    SVHN). No checksum is published. Splits: the official ones. License: none stated; in common use for research.
    Paper: Ganin and Lempitsky, "Unsupervised domain adaptation by backpropagation", ICML 2015,
    https://arxiv.org/abs/1409.7495. Differences: the domain ``rendered_syn`` is a renderer of ours after this idea, not
    this set.
    """

    files = "synth_train_32x32.mat and synth_test_32x32.mat"
    by_hand = "SynthDigits.zip, linked at yaroslav.ganin.net"
    classes = tuple("0123456789")

    @override
    def parts(self, split: Split, root: Path, download: bool) -> Iterator[ImageSet]:
        (path,) = self.paths(split, root)
        yield from read_mat(path)

    @override
    def paths(self, split: Split, root: Path) -> list[Path]:
        return [root / f"synth_{split}_32x32.mat"]
