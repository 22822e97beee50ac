"""How a model fares against chance, for locks that ask whether it knows anything."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from tl_robust.auditor.subject import Subject
from tl_robust.trust.checks.above_chance import exchanged
from tl_robust.trust.exact import at_least


@dataclass(frozen=True)
class Chance:
    """Right answers beside those of always naming one class.

    Attributes:
        right: Images that the model classifies rightly.
        count: Images.
        share: Share of the most frequent class, which always naming it reaches.
        p: How probable as many right answers are by always naming one class: the one-sided exact binomial test.
        exchanged: How probable they are when the names of the classes are exchanged at random; 0 where there are fewer
            than five. A random last layer on good features gives like images like names, and so may hit by luck; see
            the trust check ``above_chance``.
        luck: The least that ``exchanged`` can be: one over the orders of the classes.
        least: What ``p`` is of a model without mistakes: where it is not small, nothing can be told.
        top: The class that is named most often.
        named: Share of the images that it is given to.
    """

    right: int
    count: int
    share: float
    p: float
    exchanged: float
    luck: float
    least: float
    top: int
    named: float

    @classmethod
    def of(cls, subject: Subject) -> Chance:
        """Of the audited model on the test images."""
        labels, said = subject.images.labels, subject.logits(subject.model).argmax(1)
        count, right = len(labels), int(subject.right.sum())
        share = int(labels.bincount().max()) / count
        predicted = torch.where(subject.right | (said != labels), said, -1)  # of no finite logits none is right
        p = at_least(right, count, share) if share < 1 else 1.0
        often = said.bincount()
        return cls(
            right,
            count,
            share,
            p,
            exchanged(predicted, labels),
            1 / math.factorial(min(len(torch.cat([labels, said]).unique()), 20)),
            share**count,
            int(often.argmax()),
            int(often.max()) / count,
        )

    @property
    def text(self) -> str:
        """``is right on 12.0 % of 200 images, and always naming the most frequent class on 10.5 %``."""
        return (
            f"is right on {percent(self.right / self.count)} of {self.count} images, and always naming the most "
            f"frequent class on {percent(self.share)}"
        )


def percent(share: float) -> str:
    """A share as readers see it: ``93.5 %``."""
    return f"{100 * share:.1f} %"


def finite(values: Tensor) -> bool:
    """Whether all of a tensor's values are finite."""
    return bool(values.isfinite().all())


def named(subject: Subject, label: int) -> str:
    """A class as readers know it: ``'cat'``, or its place where it has no name."""
    return repr(subject.classes[label]) if label < len(subject.classes) and subject.classes[label] else f"no. {label}"
