"""A model that is right on every image has probably seen them."""

from tl_robust.trust import check
from tl_robust.types import Verdict


@check()
def too_good(evidence):
    """Amber where the victim is right on all of more than 100 clean images.

    Test images are then likely among those it was trained on: Barz and Denzler, "Do we train on test data?", 2020.
    """
    right = evidence.outcome.clean_b == evidence.outcome.label
    if len(right) > 100 and bool(right.all()):
        return Verdict("amber", ("The victim is right on every clean image: were they among its training images?",))
    return Verdict()
