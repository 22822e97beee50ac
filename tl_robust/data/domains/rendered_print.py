"""Plain printed digits, drawn from fonts."""

from tl_robust.data.domain import DOMAINS
from tl_robust.data.rendering import DrawnDomain, Style


@DOMAINS.register
class RenderedPrint(DrawnDomain):
    """3,500 printed digits, 1x28x28 gray (3,000 train, 500 test).

    Format: drawn on loading, nothing to fetch. Light on dark, as MNIST, USPS and Optdigits are: in a pair with one of
    them the domains then differ in shape (print against handwriting) and not also in polarity. Font, gray levels, size,
    blur, place and rotation (up to 6 degrees) vary a little. Classes are balanced. Splits have disjoint seeds but share
    the 21 fonts, so the test split is close to the training split. The fonts are matplotlib's (DejaVu, STIX, Computer
    Modern, under their free licenses); another version of Pillow may draw other pixels, which the fingerprint then
    shows. Paper: none, this set is ours.
    """

    draws = "rendered_print"
    train_size = 3000
    test_size = 500
    style = Style(
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
