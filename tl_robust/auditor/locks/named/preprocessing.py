"""Images that are prepared otherwise than in training make a model look weaker than it is."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tl_robust.auditor.locks.alternatives import Alternative, alternatives, asked, steps_text
from tl_robust.auditor.locks.base import Answer, lock
from tl_robust.auditor.locks.chance import finite, percent
from tl_robust.auditor.subject import Subject
from tl_robust.metrics.estimate import holm
from tl_robust.seeding import generator
from tl_robust.trust.exact import at_least

LEVEL = 0.01  # over all alternatives
LEAST_GAIN = 0.05  # in accuracy
LEAST_SHARE = 1 / 3  # of the images that the model gets wrong
PARITY = 0.1  # largest difference of a logit, in standard deviations of the reference's
MOST = 500  # images that alternatives are asked about


@dataclass(frozen=True)
class Gain:
    """What an alternative changes: images that it alone is right on, that the model alone is, and the p-value."""

    alternative: Alternative
    won: int
    lost: int
    p: float


@lock(30, unless=("head_is_trained", "class_order"))
def preprocessing(subject: Subject) -> Answer:
    """Fails where logits differ from the owner's by over a tenth of their spread, or another preparation is better.

    Without the owner's logits, other means and spreads, ranges, orders of channels, sizes and crops are tried on the
    same images, one change at a time. One is better where it is right on at least five points more of them, net of what
    it loses, and that on a third of those that the model gets wrong, and surely so: the exact McNemar test
    (Psychometrika 1947), one-sided, at 1 % after Holm's correction over all alternatives.
    """
    others = [(other.name, other.network) for other in subject.candidates]
    tried = alternatives(subject.model.network, subject.images.images, others)
    if subject.reference is not None:
        return _parity(subject, subject.reference, tried)
    chosen = torch.arange(len(subject.images))
    if len(chosen) > MOST:
        chosen = torch.randperm(len(chosen), generator=generator("images for preprocessing", subject.seed))[:MOST]
    before = subject.right[chosen]
    gains = _gains(subject, chosen, before, tried)
    count, right = len(chosen), int(before.sum())
    need = _least(count, right)
    sure = [gain for gain in gains if gain.p <= LEVEL and gain.won - gain.lost >= need]
    own = f"{percent(right / count)} of {count} images with {steps_text(subject.model.network)}"
    if not sure:
        return Answer(
            True, f"It is right on {own}, and on surely more with none of {len(gains)} other ways to prepare images."
        )
    best = max(sure, key=lambda gain: gain.won - gain.lost)
    return Answer(
        False,
        f"It is right on {percent((right + best.won - best.lost) / count)} of {count} images with "
        f"{best.alternative.name}, and on {percent(right / count)} with {steps_text(subject.model.network)}: correct "
        "what its files say of preprocessing.",
    )


def _gains(subject: Subject, chosen: Tensor, before: Tensor, tried: list[Alternative]) -> list[Gain]:
    """Where images that the model gets wrong cannot make an alternative surely better, the others are not asked.

    So a good model costs hardly more than one pass over the images.
    """
    wrong, right = chosen[~before], chosen[before]
    need = _least(len(chosen), len(right))
    found = []
    for alternative in tried:
        won = lost = 0
        if len(wrong) >= need:
            won = int(_right(subject, alternative, wrong).sum())
        if won >= need and at_least(won, won, 0.5) <= LEVEL:
            lost = int((~_right(subject, alternative, right)).sum()) if len(right) else 0
        found.append(Gain(alternative, won, lost, at_least(won, won + lost, 0.5)))
    corrected = holm([gain.p for gain in found])
    return [Gain(gain.alternative, gain.won, gain.lost, p) for gain, p in zip(found, corrected, strict=True)]


def _least(count: int, right: int) -> float:
    """The least gain in images."""
    return max(LEAST_GAIN * count, LEAST_SHARE * (count - right), 1.0)


def _right(subject: Subject, alternative: Alternative, chosen: Tensor) -> Tensor:
    some = subject.images.take(chosen)
    said = asked(subject.model.network, alternative, some.images)
    return (said.argmax(1) == some.labels) & said.isfinite().all(1)


def _parity(subject: Subject, reference: Tensor, tried: list[Alternative]) -> Answer:
    """Compare with the logits ``[R,L]`` of the owner's own pipeline."""
    count = len(reference)
    said = subject.logits(subject.model)[:count]
    if reference.shape != said.shape or not count:
        return Answer(
            False,
            f"The reference output has the shape {list(reference.shape)}, and the model's for these images is "
            f"{list(said.shape)}: give its logits for the first images in their order.",
        )
    if not finite(reference):
        return Answer(False, "The reference output has values that are not finite: give the model's own logits.")
    reference = reference.detach().float().cpu()
    gap = _gap(said, reference)
    if gap <= PARITY:
        return Answer(
            True,
            f"Its logits for {count} images differ from the reference output by {gap:.2g} of their spread at most.",
        )
    some = subject.images.images[:count]
    gaps = [_gap(asked(subject.model.network, alternative, some), reference) for alternative in tried]
    least = min(gaps, default=gap)
    why = "correct what its files say of preprocessing"
    if least <= PARITY:
        why = f"with {tried[gaps.index(least)].name} they differ by {least:.2g}, so {why}"
    return Answer(
        False,
        f"Its logits for {count} images differ from the reference output by up to {gap:.2g} of their spread, more than "
        f"{PARITY:g}, with {steps_text(subject.model.network)}: {why}.",
    )


def _gap(said: Tensor, reference: Tensor) -> float:
    """Largest difference in standard deviations of the reference; infinite where it is not known."""
    spread = float(reference.std()) if reference.numel() > 1 else 0.0
    gap = float((said - reference).abs().max()) / max(spread, 1e-12)
    return gap if gap == gap else float("inf")
