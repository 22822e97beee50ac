"""Plain printed digits, drawn from fonts."""

from pathlib import Path
from typing import ClassVar

from typing_extensions import override

from tl_robust.data.domain import DOMAINS, Domain, Split
from tl_robust.data.rendering import Style, render
from tl_robust.seeding import derive
from tl_robust.types import ImageSet


@DOMAINS.register
class RenderedPrint(Domain):
    """3,500 printed digits, 1x28x28 gray (3,000 train, 500 test).

    Format: drawn on loading, nothing to fetch. Light on dark, as MNIST, USPS and Optdigits are: in a pair with one of
    them the domains then differ in shape (print against handwriting) and not also in polarity. Font, gray levels, size,
    blur, place and rotation (up to 6 degrees) vary a little. Classes are balanced. Splits have disjoint seeds but share
    the 21 fonts, so the test split is close to the training split. The fonts are matplotlib's (DejaVu, STIX, Computer
    Modern, under their free licenses); another version of Pillow may draw other pixels, which the fingerprint then
    shows. Paper: none, this set is ours.
    """

    classes = tuple("0123456789")
    train_size: ClassVar[int] = 3000
    test_size: ClassVar[int] = 500
    style: ClassVar[Style] = Style(
        side=28,
        channels=1,
        height=(17, 21),
        stretch=(0.95, 1.05),
        shift=1.5,
        tilt=0.05,
        blur=(0.4, 0.8),
        ink=(0.8, 1),
        paper=(0, 0.15),
        contrast=0.5,
    )

    @override
    def read(self, split: Split, root: Path, download: bool) -> ImageSet:
        size = self.train_size if split == "train" else self.test_size
        return render(self.style, derive("rendered_print", self.VERSION, split), size)
