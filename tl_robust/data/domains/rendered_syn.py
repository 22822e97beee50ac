"""Colored digits in clutter, drawn from fonts."""

from tl_robust.data.domain import DOMAINS
from tl_robust.data.rendering import DrawnDomain, Style


@DOMAINS.register
class RenderedSyn(DrawnDomain):
    """7,000 colored digits, 3x32x32, in the manner of SynDigits (6,000 train, 1,000 test).

    Format: drawn on loading (about 1 s), nothing to fetch. The digit nearest to the middle is the label; it may stand
    in a number, whose other digits are mostly cut off at the left and right edges, as in SVHN. Font, size, width,
    place, rotation (up to 23 degrees), blur, the colors of digit and background (with a gradient) and an outline vary;
    digit and background differ in luminance by at least 0.3 of the range, before blur. Classes are balanced. Splits
    have disjoint seeds but share the 21 fonts, so the test split holds no unseen font. The fonts are matplotlib's
    (DejaVu, STIX, Computer Modern, under their free licenses); another version of Pillow may draw other pixels, which
    the fingerprint then shows. Paper: Ganin and Lempitsky, "Unsupervised Domain Adaptation by Backpropagation", ICML
    2015, https://arxiv.org/abs/1409.7495. Their set has about 500,000 images in the fonts of Windows, which were not
    published with their code.
    """

    draws = "rendered_syn"
    train_size = 6000
    test_size = 1000
    style = Style(
        side=32,
        channels=3,
        height=(16, 26),
        stretch=(0.85, 1.25),
        shift=2.5,
        tilt=0.2,
        blur=(0.4, 1.0),
        ink=(0, 1),
        paper=(0, 1),
        contrast=0.3,
        shade=0.15,
        neighbor=0.6,
        gap=(0.1, 0.35),
        outline=0.5,
    )
