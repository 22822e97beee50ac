"""Alarms of a backdoor: signs that a model or its training images carry one, though nobody knows its trigger."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from tl_robust.audit.numbers import ALARM, INDEX, RATIO, STAMPED, known
from tl_robust.audit.record import Finding, NotRun
from tl_robust.audit.terms import terms_of
from tl_robust.auditor import looks_stamped, smallest_mask
from tl_robust.auditor.clean_models import WORK, Asked, ask
from tl_robust.auditor.smallest_mask import SEARCH, Masks
from tl_robust.auditor.subject import ReadModel, Subject
from tl_robust.metrics.estimate import clopper_pearson
from tl_robust.types import Verdict

THREAT = "backdoor"
Found = tuple[tuple[Finding, ...], tuple[NotRun, ...]]
BENCH = "experiments/statistics/alarms.py"
INDEX_ALARMS = (0, 20)  # clean models whose index is above 2, of so many
CLUSTER_ALARMS = (20, 20)  # clean models with a label that activation clustering suspects
NO_CLEAN = "No clean model was given, so that its false-alarm rate is not known: give the parent, and decoys."


def alarms(subject: Subject, work: float = WORK) -> Found:
    """All alarms that the files allow.

    The masks of Neural Cleanse are searched for on the test images in the model, in the parent and in the decoys. Where
    training images are given, STRIP looks at some of them, with test images as overlays.

    Args:
        subject: What is audited; parent and decoys are taken to be clean.
        work: Additions and multiplications that one alarm may cost on a CPU; clean models that would cost more are not
            asked. 50 steps on 4 images a class and model are a ResNet-18 with a stem for small images 30 s on one core.
    """
    parts = [_masks(subject, work), _stamped(subject, work), _without()]
    return tuple(item for found, _ in parts for item in found), tuple(item for _, left in parts for item in left)


def _masks(subject: Subject, work: float) -> Found:
    name = str(SEARCH)
    count = smallest_mask.count_of(subject.model.network, subject.images)
    if count < smallest_mask.LEAST:
        why = f"Neural Cleanse compares the masks of at least {smallest_mask.LEAST} classes, and the model has {count}."
        return (), tuple(_not_run(number, why) for number in (INDEX, RATIO, ALARM))
    found: dict[int, Masks] = {}

    def score(model: ReadModel) -> float:
        found[id(model)] = smallest_mask.masks(model.network, subject.images, count, subject.seed)
        return found[id(model)].ratio

    many = {id(each): smallest_mask.count_of(each.network, subject.images) for each in subject.candidates}
    clean = [each for each in subject.candidates if many[id(each)] >= count]
    asked = ask(subject, score, clean, smallest_mask.passes(count), work)
    if asked is None:
        why = (
            f"the search for the masks of {count} classes in images of "
            f"{'x'.join(map(str, subject.images.images.shape[1:]))} would take too long on a CPU: audit on a GPU."
        )
        return (), tuple(_not_run(number, f"Neural Cleanse was left out, since {why}") for number in (INDEX, RATIO, ALARM))
    own = found[id(subject.model)]
    if math.isnan(own.ratio):
        why = "Neural Cleanse found no mask of finite size, as in a model that says what is not finite."
        return (), tuple(_not_run(number, why) for number in (INDEX, RATIO, ALARM))
    few = [(each.name, f"it has {many[id(each)]} classes, and the model {count}") for each in subject.candidates
           if many[id(each)] < count]  # fmt: skip
    asked = Asked(asked.own, asked.clean, asked.parent, (*few, *asked.left_out))
    wrong, of = INDEX_ALARMS
    low, high = (f"{100 * end:.0f}" for end in _ends(wrong, of))
    known_rate = (
        f"Its authors suspect a model above 2, and this one is {'above' if own.flagged else 'not above'} it; of {of} "
        f"clean models of ours {wrong} were above it ([{low}, {high} %] of such models, by {BENCH}), which says little "
        "of other networks and images."
    )
    unknown = () if asked.clean else (NO_CLEAN,)
    amber = Verdict("amber", (known_rate, *unknown))
    findings = [
        _finding(INDEX, own.index, own.index, own.index, count, name, amber),
        _finding(RATIO, own.ratio, own.ratio, own.ratio, count, name,
                 Verdict("amber", unknown or asked.reasons(_times)[:1])),
    ]  # fmt: skip
    more, left = _calibrated(asked, f"{name[:-1]}, measure=size)", _times)
    return (*findings, *more), left


def _stamped(subject: Subject, work: float) -> Found:
    if subject.train is None:
        why = "No training images were given, in which STRIP would look for stamped ones: give --train FOLDER."
        return (), (_not_run(STAMPED, why),)
    if len(subject.images) < looks_stamped.LEAST:
        why = f"STRIP needs {looks_stamped.LEAST} test images for its threshold, got {len(subject.images)}: give more."
        return (), (_not_run(STAMPED, why),)
    if subject.train.images.shape[1:] != subject.images.images.shape[1:]:
        shapes = ["x".join(map(str, each.images.shape[1:])) for each in (subject.train, subject.images)]
        why = f"STRIP lays test images over training images, and they differ in shape: {shapes[0]} and {shapes[1]}."
        return (), (_not_run(STAMPED, why),)
    train, hits = looks_stamped.sampled(subject.train, subject.seed), dict[int, tuple[bool, ...]]()

    def score(model: ReadModel) -> float:
        found = looks_stamped.looking_stamped(model.network, subject.images, train, subject.seed)
        hits[id(model)] = tuple(found.tolist())
        return float(found.double().mean())

    asked = ask(subject, score, subject.candidates, looks_stamped.passes(subject.images, subject.train), work)
    if asked is None:
        return (), (_not_run(STAMPED, "STRIP was left out, since it would take too long on a CPU: audit on a GPU."),)
    wrong, of = CLUSTER_ALARMS
    clusters = _not_run(
        "filter_kept",
        f"Activation clustering suspects a label of the training images in {wrong} of {of} clean models of ours (by "
        f"{BENCH}), so that it tells nothing; STRIP looks at these images instead.",
    )
    count = sum(hits[id(subject.model)])
    low, high = _ends(count, len(train))
    reason = (
        f"{count} of {len(train)} training images keep their class under other images more "
        f"surely than all but {looks_stamped.SHARE:.0%} of the test images do, where about as many are expected of clean "
        "images."
    )
    verdict = Verdict("amber", (reason, *([] if asked.clean else [NO_CLEAN])))
    number = _finding(STAMPED, asked.own, low, high, len(train), looks_stamped.NAME, verdict, hits[id(subject.model)])
    more, left = _calibrated(asked, looks_stamped.NAME, "{:.1%}".format)
    return (number, *more), (*left, clusters)


def _calibrated(asked: Asked, attack: str, shown: Callable[[float], str]) -> Found:
    if not asked.clean:
        return (), (_not_run(ALARM, f"{attack}: {NO_CLEAN}"),)
    value, low, high = asked.false_alarms
    reasons = asked.reasons(shown)
    return (_finding(ALARM, value, low, high, len(asked.clean), attack, Verdict("amber", reasons)),), ()


def _ends(hits: int, n: int) -> tuple[float, float]:
    """Exact 95 % interval of a share."""
    low, high = (float(end) for end in clopper_pearson(*torch.tensor([[hits], [n]], dtype=torch.float64)))
    return low, high


def _without() -> Found:
    why = "No trigger is known, so that nobody can tell how often it works: alarms look for signs of one."
    return (), (_not_run("attack_success", why),)


def _times(ratio: float) -> str:
    return f"a smallest mask {ratio:.2f} times below the median"


def _finding(
    name: str, value: float, low: float, high: float, n: int, attack: str, trust: Verdict, hits: tuple[bool, ...] = ()
) -> Finding:
    facts = known(name)
    return Finding(
        THREAT, name, facts.title, value, low, high, n, facts.unit, facts.better, attack=attack, trust=trust,
        terms=terms_of(THREAT, "", name), hits=hits,
    )  # fmt: skip


def _not_run(name: str, reason: str) -> NotRun:
    return NotRun(THREAT, name, reason, terms_of(THREAT, "", name))
