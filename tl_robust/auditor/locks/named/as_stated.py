"""A model whose accuracy is another than its owner states is not the one that he uses, or not on its images."""

from __future__ import annotations

import math

import torch

from tl_robust.auditor.locks.base import Answer, lock
from tl_robust.auditor.locks.chance import percent
from tl_robust.auditor.subject import Subject
from tl_robust.metrics.estimate import clopper_pearson

ROUNDING = 0.005  # half a percent, to which accuracies are stated


@lock(50, unless=("head_is_trained", "class_order", "preprocessing", "better_than_chance"))
def as_stated(subject: Subject) -> Answer:
    """Fails where the exact 95 % interval of its accuracy does not hold the stated one, which may be rounded.

    Clopper and Pearson's interval, Biometrika 1934. Both ways: an accuracy that is better than stated tells that the
    images are others, too, such as some that it was trained on.
    """
    if math.isnan(subject.stated):
        return Answer(None, "No accuracy was stated: give it with --stated to have it compared.")
    right, count = int(subject.right.sum()), len(subject.images)
    low, high = (
        float(end)
        for end in clopper_pearson(
            torch.tensor([right], dtype=torch.float64), torch.tensor([count], dtype=torch.float64)
        )
    )
    found = (
        f"It is right on {percent(right / count)} of {count} images (95 % interval {100 * low:.1f} to {percent(high)})"
    )
    stated = f"and {percent(subject.stated)} is stated"
    if subject.stated > high + ROUNDING:
        return Answer(
            False,
            f"{found}, {stated}: it is worse than stated; check that file, preprocessing and images are those of the "
            "stated number.",
        )
    if subject.stated < low - ROUNDING:
        return Answer(
            False,
            f"{found}, {stated}: it is better than stated; check that it was not trained on these images, or state the "
            "new number.",
        )
    return Answer(True, f"{found}, {stated}.")
