"""Test images that a model was trained on say nothing of how it does on others."""

from __future__ import annotations

from tl_robust.auditor.locks.base import Answer, lock
from tl_robust.auditor.locks.chance import percent
from tl_robust.auditor.locks.duplicates import copies
from tl_robust.auditor.subject import Subject

MOST = 0.01  # share of the test images, from which on it fails
SHOWN = 3


@lock(70)
def not_in_training(subject: Subject) -> Answer:
    """Fails where 1 % of the test images or more are among the training images, also as copies that were saved anew.

    Near copies are those of JPEG or of another brightness, see :mod:`tl_robust.auditor.locks.duplicates`.
    """
    if subject.train is None:
        return Answer(None, "No training images were given: give their folder with --train to have them compared.")
    found = copies(subject.images.images, subject.train.images)
    count, both = len(subject.images), len(subject.train)
    exact, near = int((found.exact >= 0).sum()), int((found.near >= 0).sum())
    if not exact + near:
        return Answer(True, f"None of {count} test images is among the {both} training images, nor nearly.")
    places = (found.found >= 0).nonzero()[:, 0].tolist()
    shown = ", ".join(f"no. {place} is no. {int(found.found[place])}" for place in places[:SHOWN])
    text = (
        f"{exact + near} of {count} test images ({percent((exact + near) / count)}) are among the {both} training "
        f"images, {exact} of them pixel by pixel and {near} nearly, counted from 0: {shown}"
    )
    if (exact + near) / count < MOST:
        return Answer(True, f"{text}; that is below {percent(MOST)}.")
    return Answer(False, f"{text}; from {percent(MOST)} on the test says little, so take images it never saw.")
