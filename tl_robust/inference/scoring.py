"""Every sample scored for every model of a cohort, each with shadows of the other pairs: no Trainer, no store.

Axes: K epochs, M models, S shadows, N samples, Z samples of the test split, L classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tl_robust.inference.base import Inference, Seen, ShadowInference, Told
from tl_robust.seeding import generator
from tl_robust.types import Exposure, Signals


def scored(
    inference: Inference,
    victims: Sequence[Signals],
    shadows: Sequence[Signals],
    parent: Signals | None,
    member: Tensor,
    canary: Tensor,
    claim: tuple[float, float] = (0.0, 0.0),
    shadow_member: Tensor | None = None,
) -> Exposure:
    """Score every sample for every model, and the test split with coins that are made up.

    Args:
        inference: The inference.
        victims: What each of the M models says; 2i and 2i + 1 are a pair.
        shadows: What the shadows say, in pairs as well; empty where the victims are each other's shadows.
        parent: What the public model says.
        member: Bool ``[M,N]``, what each learned from.
        canary: Bool ``[N]``.
        claim: Epsilon and delta of a defense.
        shadow_member: Bool ``[S,N]``, what the shadows learned from; None: M shadows, the same halves as the victims.
    """
    first, models = victims[0], len(victims)
    others = [_others(inference, model, member, shadow_member) for model in range(models)]
    null_member = _coins("null", models, first)
    inside = member if shadow_member is None else shadow_member
    null_inside = null_member if shadow_member is None else _coins("null of shadows", len(shadow_member), first)
    scores: list[Tensor] = []
    null_scores: list[Tensor] = []
    for k in range(len(first.x)):
        own, tested = (_told(victims, k, test) for test in (False, True))
        theirs, theirs_tested = (own, tested) if not shadows else (_told(shadows, k, test) for test in (False, True))
        public = [_told([parent], 0, test).at(torch.tensor(0)) if parent else None for test in (False, True)]
        for rows, told, shadow, learned, before in (
            (scores, own, theirs, inside, public[0]),
            (null_scores, tested, theirs_tested, null_inside, public[1]),
        ):
            rows.append(torch.stack([
                inference.score(Seen(
                    told.at(torch.tensor(model)), before, shadow.at(chosen), learned[chosen],
                    tested.at(torch.tensor(model)), theirs_tested.at(chosen),
                ))
                for model, chosen in enumerate(others)
            ]))  # fmt: skip
    test_right = _test_right(victims)
    return Exposure(
        sample_id=first.sample_id,
        epochs=first.epochs,
        label=first.label,
        canary=canary,
        member=member,
        score=torch.stack(scores).double(),
        right=torch.stack([victim.logits.argmax(-1) == victim.label for victim in victims], 1),
        null_member=null_member,
        null_score=torch.stack(null_scores).double(),
        test_right=test_right,
        shadow_right=_test_right(shadows) if shadow_member is None and shadows else test_right,
        shadows=torch.tensor(min(map(len, others))),
        claim=torch.tensor(claim, dtype=torch.float64),
    )


def _told(signals: Sequence[Signals], place: int, test: bool) -> Told:
    """What all models say at one epoch."""
    logits = torch.stack([(one.test_logits if test else one.logits)[place] for one in signals])
    told = Told(logits, signals[0].test_label if test else signals[0].label)
    _ = told.loss, told.margin  # once for all that is taken of it
    return told


def _test_right(signals: Sequence[Signals]) -> Tensor:
    return torch.stack([one.test_logits.argmax(-1) == one.test_label for one in signals], 1)


def _coins(name: str, models: int, first: Signals) -> Tensor:
    """Bool ``[M,Z]``, as many fair coins as there are pairs; the second of a pair has the other sides."""
    samples = len(first.test_label)
    draw = generator(name, len(first.sample_id), samples)
    heads = torch.randint(2, (models // 2, samples), generator=draw).bool()
    return torch.stack([heads, ~heads], 1).flatten(0, 1)


def _others(inference: Inference, model: int, member: Tensor, shadow_member: Tensor | None) -> Tensor:
    """Shadows of a model: those of the next pairs, never of its own halves, which know the answer; int64 ``[S]``."""
    if not isinstance(inference, ShadowInference):
        return torch.zeros(0, dtype=torch.int64)
    if shadow_member is None:
        pairs, own = len(member) // 2, model // 2
        next_pairs = (own + 1 + torch.arange(pairs - 1)) % pairs
    else:
        halves = shadow_member[0::2]
        known = (halves == member[model]).all(1) | (halves != member[model]).all(1)
        turned = (torch.arange(len(halves)) + model // 2) % len(halves)
        next_pairs = turned[~known[turned]]
    if inference.shadows:
        next_pairs = next_pairs[: inference.shadows // 2]
    return torch.stack([2 * next_pairs, 2 * next_pairs + 1], 1).flatten()
