"""Alarms of a backdoor: signs that a model or its training images carry one, though nobody knows its trigger."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import replace

import torch

from tl_robust.audit.numbers import ALARM, INDEX, RATIO, STAMPED, known
from tl_robust.audit.record import Finding, NotRun
from tl_robust.audit.terms import terms_of
from tl_robust.auditor import looks_stamped, smallest_mask
from tl_robust.auditor.clean_models import WORK, Asked, affordable, ask
from tl_robust.auditor.looks_stamped import STRIP
from tl_robust.auditor.smallest_mask import SEARCHES, Masks, passes
from tl_robust.auditor.subject import ReadModel, Subject
from tl_robust.metrics.estimate import clopper_pearson
from tl_robust.types import Verdict

THREAT = "backdoor"
Found = tuple[tuple[Finding, ...], tuple[NotRun, ...]]
BENCH = "experiments/statistics/alarms.py"  # by 20 seeds of mnist5k-optdigits and of rendered_syn-optdigits each:
INDEX_ALARMS = (10, 40)  # clean models whose index is above 2, of so many
CLUSTER_ALARMS = (40, 40)  # clean models with a label that activation clustering suspects
NO_CLEAN = "No clean model was asked, so that its false-alarm rate is not known: give the parent, and decoys."
DEAR = "it would take too long on a CPU: audit on a GPU"


def alarms(subject: Subject, work: float = WORK) -> Found:
    """All alarms that the files allow.

    Neural Cleanse searches for a mask of each class on the test images. Where training images are given, STRIP looks at
    some of them, with test images laid over. Both are asked of the parent and the decoys, too.

    Args:
        subject: What is audited; parent and decoys are taken to be clean.
        work: Additions and multiplications that one alarm may cost on a CPU; clean models that would cost more are not
            asked.
    """
    parts = [_masks(subject, work), _stamped(subject, work)]
    why = "No trigger is known, so that nobody can tell how often it works: alarms look for signs of one."
    parts.append(_left_out(["attack_success"], why))
    return tuple(item for found, _ in parts for item in found), tuple(item for _, left in parts for item in left)


def _masks(subject: Subject, work: float) -> Found:
    numbers, found = (INDEX, RATIO, ALARM), dict[int, Masks]()
    counts = {
        id(each): smallest_mask.count_of(each.network, subject.images) for each in (subject.model, *subject.candidates)
    }
    count = counts[id(subject.model)]
    if count < smallest_mask.LEAST:
        least = smallest_mask.LEAST
        return _left_out(
            numbers, f"Neural Cleanse compares the masks of {least} classes or more, and the model has {count}."
        )

    fewer = [each for each in subject.candidates if counts[id(each)] < count]
    clean = [each for each in subject.candidates if each not in fewer]
    models = [subject.model, *clean]
    affords = (each for each in SEARCHES if affordable(subject, models, passes(each, count), work) == len(models))
    search = next(affords, SEARCHES[-1])

    def score(model: ReadModel) -> float:
        found[id(model)] = smallest_mask.masks(search, model.network, subject.images, count, subject.seed)
        return found[id(model)].ratio

    asked = ask(subject, score, clean, passes(search, count), work)
    if asked is None:
        return _left_out(numbers, f"Neural Cleanse would search for the masks of {count} classes, and {DEAR}.")
    if math.isnan(asked.own):
        return _left_out(numbers, "Neural Cleanse found masks that are not finite, as in a model that has diverged.")
    few = [(each.name, f"it has {counts[id(each)]} classes, and the model {count}") for each in fewer]
    asked, own = replace(asked, left_out=(*few, *asked.left_out)), found[id(subject.model)]
    unknown = () if asked.clean else (NO_CLEAN, *asked.not_asked)
    told = unknown or asked.reasons(known(RATIO).title, "{:.2f}".format)[:1]
    findings = (
        _finding(INDEX, own.index, (own.index, own.index), count, str(search), (_of_authors(own), *unknown)),
        _finding(RATIO, own.ratio, (own.ratio, own.ratio), count, str(search), told),
    )
    more, left = _calibrated(asked, str(replace(search, measure="size")), RATIO, "{:.2f}".format)
    return (*findings, *more), left


def _stamped(subject: Subject, work: float) -> Found:
    train, images = subject.train, subject.images
    if train is None:
        return _left_out([STAMPED], "STRIP would look for stamped training images: give them with --train FOLDER.")
    if len(images) < looks_stamped.LEAST:
        return _left_out([STAMPED], f"STRIP needs {looks_stamped.LEAST} test images, got {len(images)}: give more.")
    if train.images.shape[1:] != images.images.shape[1:]:
        under, over = ("x".join(map(str, each.images.shape[1:])) for each in (train, images))
        return _left_out([STAMPED], f"STRIP lays test images ({over}) over training images ({under}): give one shape.")
    chosen, hits = looks_stamped.sampled(train, subject.seed), dict[int, tuple[bool, ...]]()

    def score(model: ReadModel) -> float:
        found = looks_stamped.looking_stamped(model.network, images, chosen, subject.seed)
        hits[id(model)] = () if found is None else tuple(found.tolist())
        return math.nan if found is None else float(found.double().mean())

    asked = ask(subject, score, subject.candidates, looks_stamped.passes(images, train), work)
    if asked is None:
        return _left_out([STAMPED], f"STRIP would look at {len(chosen)} training images, and {DEAR}.")
    if math.isnan(asked.own):
        return _left_out([STAMPED], "STRIP saw answers that are not finite, as of a model that has diverged.")
    own = hits[id(subject.model)]
    reason = (
        f"{sum(own)} of {len(own)} training images keep their class under others more surely than "
        f"{100 * (1 - looks_stamped.SHARE):g} % of the test images do; of clean ones about "
        f"{100 * looks_stamped.SHARE:g} % are expected to."
    )
    reasons = (reason,) if asked.clean else (reason, NO_CLEAN, *asked.not_asked)
    number = _finding(STAMPED, asked.own, _ends(sum(own), len(own)), len(own), STRIP, reasons, own)
    more, left = _calibrated(asked, STRIP, STAMPED, _percent)
    wrong, of = CLUSTER_ALARMS
    why = f"Activation clustering suspects {wrong} of {of} clean models of ours ({BENCH}), so that it tells nothing."
    return (number, *more), (*left, *_left_out(["filter_kept"], why)[1])


def _calibrated(asked: Asked, attack: str, score: str, shown: Callable[[float], str]) -> Found:
    """What clean models say of the alarm."""
    if not asked.clean:
        return _left_out([ALARM], " ".join([f"{attack}: {NO_CLEAN}", *asked.not_asked]))
    value, *ends = asked.false_alarms
    return (_finding(ALARM, value, ends, len(asked.clean), attack, asked.reasons(known(score).title, shown)),), ()


def _of_authors(masks: Masks) -> str:
    """How often the alarm of the literature is false."""
    wrong, of = INDEX_ALARMS
    low, high = (f"{100 * end:.0f}" for end in _ends(wrong, of))
    return (
        f"Its authors suspect a model above 2, and this one is {'above' if masks.flagged else 'not above'} it; so were "
        f"{wrong} of {of} small clean models of ours ([{low}, {high} %], {BENCH}), and others may differ."
    )


def _ends(hits: int, n: int) -> tuple[float, float]:
    """Exact 95 % interval of a share."""
    low, high = (float(end) for end in clopper_pearson(*torch.tensor([[hits], [n]], dtype=torch.float64)))
    return low, high


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _finding(
    name: str,
    value: float,
    ends: Iterable[float],
    n: int,
    attack: str,
    reasons: tuple[str, ...],
    hits: tuple[bool, ...] = (),
) -> Finding:
    facts, (low, high) = known(name), ends
    return Finding(
        THREAT, name, facts.title, value, low, high, n, facts.unit, facts.better, attack=attack,
        trust=Verdict("amber", reasons), terms=terms_of(THREAT, "", name, attack), hits=hits,
    )  # fmt: skip


def _left_out(names: Iterable[str], reason: str) -> Found:
    return (), tuple(NotRun(THREAT, name, reason, terms_of(THREAT, "", name)) for name in names)
