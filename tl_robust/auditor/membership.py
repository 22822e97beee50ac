"""What a model gives away of the images that it learned from, where these are given.

No shadow model is trained, so that the attacker is a weak one: what is found is a lower bound of what a stronger one
finds. Axes: N members and as many others, L classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from tl_robust.audit.numbers import known
from tl_robust.audit.record import Finding, NotRun
from tl_robust.audit.terms import terms_of
from tl_robust.auditor.subject import ReadModel, Subject
from tl_robust.auditor.told_apart import Apart, Interval, enough
from tl_robust.inference import get
from tl_robust.inference.base import Inference, Seen, Told
from tl_robust.metrics.estimate import TAIL
from tl_robust.seeding import generator
from tl_robust.types import ImageSet, Verdict

THREAT, VIEW = "membership", "target"
NUMBERS = {
    "auc": "Area under the curve of membership inference",
    "tpr_at_1_percent": "Members found at 1 % false alarms",
    "advantage": "Members called less others called",
}
MOST = 1000  # members that are asked about, and as many others
LEAST = 20  # members below which nothing is said
Found = tuple[tuple[Finding, ...], tuple[NotRun, ...]]


@dataclass(frozen=True, eq=False)
class Sides:
    """As many members as others, in each class the same number.

    Attributes:
        subject: What is audited.
        members: Training images.
        places: int64 ``[N]``, places of the others in the test images.
    """

    subject: Subject
    members: ImageSet
    places: Tensor

    def told(self, model: ReadModel) -> tuple[Told, Told]:
        """What a model says of members and of others."""
        inside, outside = self.subject.logits(model, self.members), self.subject.logits(model)[self.places]
        return Told(inside, self.members.labels), Told(outside, self.subject.images.labels[self.places])


def sides(subject: Subject, train: ImageSet) -> Sides:
    """Draw them: of each class as many as both have, at most :data:`MOST` in all."""
    inside, outside = list[Tensor](), list[Tensor]()
    shared = [label for label in subject.images.labels.unique().tolist() if bool((train.labels == label).any())]
    for label in shared:
        drawn = []
        for name, images in (("members", train), ("others", subject.images)):
            places = (images.labels == label).nonzero()[:, 0]
            drawn.append(places[torch.randperm(len(places), generator=generator(name, subject.seed, label))])
        count = min(*map(len, drawn), max(1, MOST // len(shared)))
        inside.append(drawn[0][:count])
        outside.append(drawn[1][:count])
    empty = torch.zeros(0, dtype=torch.int64)
    members = torch.cat([empty, *inside])
    return Sides(subject, train.take(members) if len(members) else train, torch.cat([empty, *outside]))


def membership(subject: Subject) -> Found:
    """Infer membership by the loss and, where the parent has the same classes, by what fine-tuning gained on it.

    The worst of both counts. Their intervals hold together (Bonferroni), so that the worst is between the largest lower
    end and the largest upper end, although it was chosen by the same images.

    Args:
        subject: What is audited. Its training images are members, its test images are not.
    """
    train, images = subject.train, subject.images
    if train is None:
        return _left_out(
            "auc", "No training images were given, whose membership would be inferred: give --train FOLDER."
        )
    if train.images.shape[1:] != images.images.shape[1:]:
        shapes = ["x".join(map(str, each.images.shape[1:])) for each in (train, images)]
        return _left_out("auc", f"Training images ({shapes[0]}) and test images ({shapes[1]}) must have one shape.")
    drawn = sides(subject, train)
    count = len(drawn.places)
    if count < LEAST:
        why = f"Training and test images have {count} of the same classes in common, and {LEAST} are needed: give more."
        return _left_out("auc", why)
    scores = {inference.name: _scores(inference, drawn) for inference in _inferences(subject)}
    if not all(apart.finite for apart in scores.values()):
        return _left_out("auc", "The model or its parent says what is not finite, so that no loss is known.")
    tail = TAIL / len(scores)
    blind = Blind.of(drawn)
    findings = []
    for name in NUMBERS:
        numbers = {attack: _number(name, apart, subject.seed, tail) for attack, apart in scores.items()}
        attack = max(numbers, key=lambda each: numbers[each].value)
        low, high = (max(getattr(number, end) for number in numbers.values()) for end in ("low", "high"))
        trust = blind.verdict(scores[attack])
        if name == "tpr_at_1_percent" and count < enough(tail):
            few = f"{count} non-members hold no threshold of 1 %, so that its lower end is 0: {enough(tail)} would."
            trust = Verdict("red" if trust.level == "red" else "amber", (few, *trust.reasons))
        facts = known(name)
        findings.append(Finding(
            THREAT, name, NUMBERS[name], numbers[attack].value, low, high, count, facts.unit, facts.better, view=VIEW,
            attack=attack, trust=trust, terms=terms_of(THREAT, VIEW, name, attack),
        ))  # fmt: skip
    why = "Stronger inferences compare the model with shadow models, which an audit does not train: more may be found."
    return tuple(findings), _left_out("rmia", why)[1]


def _inferences(subject: Subject) -> Iterator[Inference]:
    yield get("loss")
    if subject.parent and same_classes(subject.parent, subject):
        yield get("parent_gap")


def same_classes(model: ReadModel, subject: Subject) -> bool:
    """Whether a model has the classes of the images, in their order, and one logit for each."""
    return model.classes == subject.classes and subject.logits(model).shape[1] == len(subject.classes)


def _scores(inference: Inference, drawn: Sides) -> Apart:
    parent = drawn.subject.parent if inference.PARENT else None
    own, before = drawn.told(drawn.subject.model), drawn.told(parent) if parent else (None, None)

    def score(victim: Told, public: Told | None) -> Tensor:
        none = Told(victim.logits[None][:0], victim.labels)
        nobody = torch.zeros(0, len(victim.labels), dtype=torch.bool)
        return inference.score(Seen(victim, public, none, nobody, none, none))

    members, others = (score(victim, public) for victim, public in zip(own, before, strict=True))
    return Apart(members, others)


def _number(name: str, apart: Apart, seed: int, tail: float) -> Interval:
    if name == "auc":
        return apart.area(tail)
    return apart.found(tail) if name == "tpr_at_1_percent" else apart.advantage(seed, tail)


@dataclass(frozen=True)
class Blind:
    """What models tell apart that never saw any of the images: what members and others differ in by themselves.

    Attributes:
        areas: Names of models, and areas under the curve with intervals that hold together.
    """

    areas: tuple[tuple[str, Interval], ...]

    @classmethod
    def of(cls, drawn: Sides) -> Blind:
        """Ask parent and decoys: their loss where they have the same classes, else how sure they are."""
        told = []
        for model in drawn.subject.candidates:
            known_labels = same_classes(model, drawn.subject)
            apart = Apart(*(_easy(side, known_labels) for side in drawn.told(model)))
            told += [(model.name, apart)] * apart.finite
        return cls(tuple((name, apart.area(TAIL / len(told))) for name, apart in told))

    def verdict(self, apart: Apart) -> Verdict:
        """How far a number is to be trusted that rests on these scores of the model.

        Red where a model that never saw them tells half as much of the difference to chance, or more.
        """
        if not self.areas:
            why = (
                "Whether training and test images differ by themselves is not known, since no model was given that "
                "never saw them: give the parent or a decoy."
            )
            return Verdict("amber", (why,))
        name, blind = max(self.areas, key=lambda item: _apart(item[1]))
        if blind.low <= 0.5 <= blind.high:
            return Verdict()
        own = apart.area().value
        value, low, high, of_model = (f"{100 * number:.1f}" for number in (blind.value, blind.low, blind.high, own))
        reason = (
            f"Blind baseline: {name}, which is taken to have learned from neither, tells training from test images "
            f"with an area of {value} % [{low}, {high}], the model with {of_model} %, so that they differ in more than "
            "membership: give training and test images of one source."
        )
        return Verdict("red" if 2 * abs(blind.value - 0.5) >= abs(own - 0.5) else "amber", (reason,))


def _apart(interval: Interval) -> float:
    """How far an interval is from half; negative where it holds it."""
    return max(interval.low - 0.5, 0.5 - interval.high)


def _easy(told: Told, known_labels: bool) -> Tensor:
    return -told.loss if known_labels else told.logits.double().log_softmax(1).amax(1)


def _left_out(name: str, reason: str) -> Found:
    return (), (NotRun(THREAT, name, reason, terms_of(THREAT, VIEW, name)),)
