"""A model that knows nothing has no robustness to speak of."""

from __future__ import annotations

from tl_robust.auditor.locks.base import Answer, lock
from tl_robust.auditor.locks.chance import Chance, finite, named, percent
from tl_robust.auditor.subject import Subject

LEVEL = 0.01  # a model without knowledge passes as often at most
CONSTANT = 0.95  # share of the images that are given one class, from which on this is the reason


@lock(40, unless=("head_is_trained", "class_order", "preprocessing"))
def better_than_chance(subject: Subject) -> Answer:
    """Fails where some logits are not finite, and where accuracy is not above that of the best constant answer.

    The one-sided exact binomial test against the share of the most frequent class at 1 % (Kuhn and Johnson, "Applied
    Predictive Modeling", 2013, section 11.2).
    """
    said = subject.logits(subject.model)
    if not finite(said):
        bad = int((~said.isfinite().all(1)).sum())
        return Answer(
            False, f"{bad} of {len(said)} images get logits that are not finite: check its weights and normalization."
        )
    chance = Chance.of(subject)
    if chance.least > LEVEL:
        return Answer(
            None,
            f"It is right on {chance.right} of {chance.count} images, of which {percent(chance.share)} are of one "
            "class: too few to tell knowledge from chance; give more images of all classes.",
        )
    if chance.p <= LEVEL:
        return Answer(True, f"It {chance.text}.")
    if chance.named >= CONSTANT:
        return Answer(
            False,
            f"It gives {percent(chance.named)} of the {chance.count} images the class {named(subject, chance.top)}, so "
            "it is nearly constant and no better than chance: check its weights, and whether its training collapsed.",
        )
    return Answer(
        False,
        f"It {chance.text}: no better than chance; check that these are its images and that its weights are trained.",
    )
