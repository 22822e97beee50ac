"""Membership: what B gives away of the samples that it, or its parent, learned from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from typing_extensions import override

from tl_robust.defenses import build as build_defense
from tl_robust.errors import ConfigError
from tl_robust.inference import INFERENCES, ShadowInference, build
from tl_robust.metrics import METRICS
from tl_robust.nodes.ages import doubling
from tl_robust.nodes.cohort import Cohort
from tl_robust.nodes.exposing import Exposing
from tl_robust.nodes.models import Model
from tl_robust.nodes.signaling import Halves, Signaling
from tl_robust.nodes.store import Store
from tl_robust.nodes.training import Training
from tl_robust.registry import Component
from tl_robust.strategies import STRATEGIES
from tl_robust.threats.base import Method, Play, Reading, Scene, Threat, Verdicts, threat
from tl_robust.threats.exposed import doubts, poor, warnings
from tl_robust.trust import judge, worst
from tl_robust.types import Evidence, Exposure, Face
from tl_robust.types.terms import ATLAS, NIST

OF_PLAN = {"pairs", "side", "knowledge", "canaries"}  # settings that say which models there are


@dataclass(frozen=True, kw_only=True)
class MembershipPlay(Play):
    """A cohort and what is inferred of it.

    Attributes:
        exposings: With shadows that are defended as the victims are, then with shadows that are not.
    """

    exposings: tuple[Exposing, ...]

    @property
    @override
    def protocol(self) -> Any:
        first = self.exposings[0]
        return {
            "inference": first.spec["inference"],
            "models": len(first.victims),
            "epochs": list(first.victims[0].epochs),
            **first.halves.spec,
        }


@threat
class MembershipThreat(Threat):
    """Models learn halves of a training set by fair coins; an attacker says of every sample which half it was in."""

    METHODS = INFERENCES
    record = Exposure
    face = Face(
        threat="membership",
        title="Exposure of training data",
        axis="epochs",
        axis_text="{:g}".format,
        place="epoch",
        told="last",
        ranked=True,
        headline="auc",
        chance=0.5,
        accuracy="cohort_accuracy",
        beside={"tpr_at_1_percent": "found at 1 %", "cohort_accuracy": "accuracy", "train_gap": "train gap"},
        measure="Exposure (area under the ROC curve of telling members from non-members, 50 % is chance)",
        word="exposure",
        views={
            "target": "Target data: what B gives away of what it learned from",
            "source": "Source data: what B gives away of what its parent learned from",
        },
        whole=("epsilon_bound",),
        claims={"target": ("M1", "M2", "D5"), "source": ("M3", "M4")},
        charts=("retention_of_source",),
        charts_title="What is left of the source",
        about="Pairs of models learned complementary halves of the same data, by fair coins. An inference gives every "
        "sample a score, and its exposure is the area under the ROC curve (AUC): how often a member has a higher "
        "score than a non-member. 50 % is chance, and 100 % gives every member away. Found at 1 % says how many "
        "members are called where 1 % of non-members are called by mistake. The train gap is accuracy on members less "
        "that on non-members: what gives members away without any inference. An exposure is read beside accuracy "
        "only, that on test images of the same side, since a model that learned nothing gives nothing away. The "
        "strongest of several inferences is chosen by these very numbers, which makes its own a little too high. On "
        "the source side the halves are of what the public parent learned from.",
        samples="training images",
        units="pairs",
        prefix="membership",
        terms={
            NIST: "privacy, membership inference",
            ATLAS: "AML.T0024.000",
            "OWASP": "ML04:2023 membership inference attack",
        },
    )

    @override
    def method(self, component: Component, x: tuple[float, ...]) -> Method:
        if any(epoch < 0 or epoch != round(epoch) for epoch in x):
            raise ConfigError(f"epochs must be whole numbers from 0, got {', '.join(f'{epoch:g}' for epoch in x)}.")
        return Method("membership", component, x, view=build(component).side)

    @override
    def play(self, method: Method, scene: Scene) -> MembershipPlay | None:
        inference = build(method.component)
        template = scene.victim
        data = scene.test if inference.side == "target" else _source(scene, template)
        learned = [training for training in _trainings(template) if training.data == data]
        if data is None or not learned:
            return None
        knows = inference.knowledge if isinstance(inference, ShadowInference) else "lineage"
        if knows != "lineage" and (inference.side == "source" or not any(_inherits(each) for each in learned)):
            return None  # without a parent all shadows are made by the recipe alone
        if inference.PARENT and scene.surrogate.labels != template.labels:
            return None
        _check(learned, template)
        halves = Halves(data, learned[-1].recipe.val_share, inference.canaries)
        last = (template.age,) if inference.side == "target" else doubling(template.age)
        cohort = Cohort(template, halves, inference.pairs, scene.seed, tuple(map(int, method.x)) or last)
        _check_halves(cohort)
        needs = isinstance(inference, ShadowInference)
        shadows = _shadows(cohort, knows)
        if knows != "lineage" and shadows == cohort:
            return None  # of a checkpoint there is no other draw
        parent = Signaling((scene.surrogate,), (0,), halves) if inference.PARENT else None
        own = tuple(item for item in method.component.settings if item[0] not in OF_PLAN)

        def exposing(shadows: Cohort) -> Exposing:
            component = replace(method.component, settings=own)
            signals = shadows.signals if needs else ()
            return Exposing(component, cohort.signals, signals, parent, halves, cohort.draws, _claim(learned))

        exposings = [exposing(shadows)]
        if needs and (bare := _undefended(shadows)) != shadows:
            exposings.append(exposing(bare))
        beside = {"lineage": (exposing(cohort).address,)} if knows != "lineage" else {}
        if len(exposings) > 1:
            beside["plain"] = (exposings[1].address,)
        first = cohort.models[0]
        every = [*exposings, *([exposing(cohort)] if knows != "lineage" else [])]
        return MembershipPlay(
            tuple(node for each in every for node in each.nodes),
            tuple(each.address for each in exposings),
            _public(scene, first, data == scene.test),
            beside,
            first,
            (first,),
            exposings=tuple(exposings),
        )

    @override
    def idle(self, method: Method) -> str:
        inference = build(method.component)
        if inference.side == "source":
            return (
                f"attack {method.label} with side: source needs a strategy whose B starts from a source that is "
                "trained here, such as finetune, and classes that source and target share."
            )
        return f"attack {method.label} needs a B that starts from a parent with the same classes, such as finetune."

    @override
    def gathered(self, play: Play, records: Mapping[str, Any]) -> tuple[Exposure, dict[str, Any]]:
        """The shadows that give away most: an attacker may defend his own or not."""
        exposed = [records[address.key] for address in play.outcome]
        auc = METRICS["auc"]
        found = max(exposed, key=lambda record: float(auc(record).nan_to_num(0)[-1]))
        return found, {name: records[addresses[0].key] for name, addresses in play.beside.items()}

    @override
    def verdicts(self, readings: Sequence[Reading], store: Store) -> list[Verdicts]:
        def judged(reading: Reading) -> Verdicts:
            record = reading.outcome
            play = reading.planned.play
            assert isinstance(play, MembershipPlay)
            first = play.exposings[0]
            verdict = worst(
                [
                    judge(Evidence(record, reading.beside)),
                    *warnings(record, reading.planned.cell.view),
                    *poor(record, build(first.inference).enough, first.halves.pool.repeated),
                ]
            )
            return verdict, {name: worst([verdict, doubt]) for name, doubt in doubts(record).items()}

        return [judged(reading) for reading in readings]


def _trainings(model: Model) -> Iterator[Training]:
    yield from (node for node in model.nodes if isinstance(node, Training))


def _inherits(training: Training) -> bool:
    """Whether a training starts from a model of other data, rather than from random weights or from its own data."""
    parent = training.parent.trained if training.parent else None
    return parent is not None and not (isinstance(parent, Training) and parent.data == training.data)


def _source(scene: Scene, victim: Model) -> Any:
    """The domain of A, if B descends from A and has its classes; else None."""
    public = scene.surrogate.trained
    if not isinstance(public, Training) or public.key not in {training.key for training in _trainings(victim)}:
        return None
    return public.data if public.labels == victim.labels else None


def _public(scene: Scene, victim: Model, of_target: bool) -> Model:
    """A; on the side ``source`` the one that this victim started from."""
    domain = scene.surrogate.title
    return scene.surrogate if of_target else next(each for each in _trainings(victim) if each.title == domain)


def _check(learned: list[Training], victim: Model) -> None:
    """Check that the members of a training are known."""
    data = learned[0].data
    for training in _trainings(victim):
        if training.data.domain == data.domain and training.data != data:
            raise ConfigError(
                f"{victim} learns from {data.domain} in two ways, so that no sample is known to be no member of it."
            )
    for training in learned:
        if training.recipe.select == "test":
            raise ConfigError(
                f"recipe.select: test lets {training.title} learn from all its training images and choose by the test "
                "split, so that no sample is known to be no member: use select: last."
            )
        if training.defense and "images" in build_defense(training.defense).acts:
            parts = " + ".join(map(str, training.defense))
            raise ConfigError(f"defense {parts} chooses what {victim} learns from, so its members are not known.")


def _check_halves(cohort: Cohort) -> None:
    """Check that every half has images of every class."""
    pool = cohort.halves.pool
    labels = pool.images.labels[pool.learn]
    for draw in cohort.draws:
        found = torch.bincount(labels[draw.members(pool)], minlength=int(labels.max()) + 1)
        if len(missing := labels.unique()[found[labels.unique()] == 0]):
            name = cohort.halves.data.labels[int(missing[0])]
            raise ConfigError(
                f"{cohort.halves.data.domain}: {draw} of {len(labels)} training images has none of class {name!r}: "
                "raise data.train_limit or target_images."
            )


def _shadows(cohort: Cohort, knowledge: str) -> Cohort:
    """The cohort that an attacker with this knowledge makes."""

    def by_recipe(training: Training, key: str) -> Training:
        fresh = STRATEGIES.component("scratch")
        own = training.data == cohort.halves.data and _inherits(training)
        return replace(training, parent=None, by=fresh) if own else training

    def other(training: Training, key: str) -> Training:
        return training.again("other parent") if training.data != cohort.halves.data else training

    change = {"recipe": by_recipe, "other_parent": other}.get(knowledge)
    return replace(cohort, template=cohort.template.mapped(change)) if change else cohort


def _undefended(cohort: Cohort) -> Cohort:
    """The cohort of an attacker who does not know the defense."""

    def bare(training: Training, key: str) -> Training:
        return replace(training, defense=(), others=()) if training.data == cohort.halves.data else training

    return replace(cohort, template=cohort.template.mapped(bare))


def _claim(learned: list[Training]) -> tuple[float, float]:
    """Epsilon and delta that the defense of a training claims; zeros where it claims none."""
    defense = build_defense(learned[-1].defense) if learned[-1].defense else None
    return (defense.privacy if defense else None) or (0.0, 0.0)
