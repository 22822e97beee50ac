"""Backdoor: poisoned training images make a trigger call for a class, and B may inherit it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from typing_extensions import override

from tl_robust.backdoors import BACKDOORS, Backdoor, build
from tl_robust.defenses import DEFENSES
from tl_robust.errors import ConfigError
from tl_robust.nodes.ages import along, doubling
from tl_robust.nodes.isolation import private, public
from tl_robust.nodes.models import Model
from tl_robust.nodes.poisoning import Poison, TriggerFit, learned_labels
from tl_robust.nodes.stamped_pictures import StampedPictures
from tl_robust.nodes.stamping import Carrier, Stamping, filters
from tl_robust.nodes.store import Store
from tl_robust.nodes.training import Training
from tl_robust.registry import Component, Scalar
from tl_robust.threats.base import Method, Play, Reading, Scene, Threat, Verdicts, threat
from tl_robust.trust import judge
from tl_robust.types import Evidence, Face, Stamped
from tl_robust.types.terms import ATLAS, NIST

WAKING = 3  # epochs with a few stamped images after which a dormant backdoor is awake (FST's retuning attack)
OF_PLAN, OF_TRAINING = {"into", "target", "wake"}, {"rate", "labels"}


@dataclass(frozen=True, kw_only=True)
class BackdoorPlay(Play):
    """The poisoned lineage, and its clean twin.

    Attributes:
        stampings: The plain attack, then those of attackers who know the defense.
        untried: Why nobody here knows the defense; empty where somebody does, if only by the plain attack, and where
            there is no defense.
    """

    stampings: tuple[Stamping, ...]
    untried: str = ""

    @property
    @override
    def protocol(self) -> Any:
        by_models = ("fit", "victims", "carrier", "poisoned", "sifted")
        return [
            {name: value for name, value in stamping.spec.items() if name not in by_models}
            | {"epochs": list(stamping.epochs)}
            for stamping in self.stampings
        ]


@threat
class BackdoorThreat(Threat):
    """A trigger is put on every test image, and B is asked about it along its training, beside its clean twin."""

    METHODS = BACKDOORS
    record = Stamped
    face = Face(
        threat="backdoor",
        title="Survival of the backdoor",
        axis="epochs",
        axis_text="{:g}".format,
        place="epoch",
        told="last",
        headline="attack_success",
        beside={
            "false_trigger": "clean twin",
            "victim_accuracy": "accuracy",
            "twin_accuracy": "accuracy of the twin",
        },
        accuracy="victim_accuracy",
        measure="Images of other classes that the trigger sends to the attacker's class",
        word="success",
        views={
            "source": "Poisoned pre-training: the backdoor is in A",
            "target": "Poisoned target set: the backdoor is in what B learns from",
            "common": "Poisoned common start: the backdoor is in C",
        },
        claims={"source": ("B1", "B2", "B3")},
        whole=("half_life", "safe_after"),
        charts=("lift", "attack_success_right", "retention"),
        charts_title="Lift and retention",
        compared={"attack_success": "false_trigger", "victim_accuracy": "twin_accuracy"},
        about="An attacker poisoned what A, or B, learned from (the heading says which): images that carry a trigger "
        "are classified as the class that he wants, and all others as they should. The clean twin of B is made in the "
        "same way without poison, and says what the trigger does where there is no backdoor: the floor of attack "
        "success. Lift is attack success of B less that of its twin, image by image, over the images of other classes.",
        prefix="backdoor",
        terms={
            NIST: "backdoor poisoning, model poisoning",
            ATLAS: "AML.T0010, AML.T0018, AML.T0020, AML.T0043.004",
            "OWASP": "ML07:2023 transfer learning attack",
        },
    )

    @override
    def method(self, component: Component, x: tuple[float, ...]) -> Method:
        if any(epoch < 0 or epoch != round(epoch) for epoch in x):
            raise ConfigError(f"epochs must be whole numbers from 0, got {', '.join(f'{epoch:g}' for epoch in x)}.")
        component = _named(component.name, dict(component.settings))
        return Method("backdoor", component, x, view=build(component).into)

    @override
    def play(self, method: Method, scene: Scene) -> BackdoorPlay:
        poisonings = [_Poisoning.of(method.component, method, scene)]
        why, tried = "It declares none.", not scene.defense
        for component in _known_attacks(method.component, scene):
            try:
                if component != method.component:
                    poisonings.append(_Poisoning.of(component, method, scene))
                tried = True
            except ConfigError as impossible:  # such as a rate of clean labels where classes are many
                why = str(impossible)
        compared: dict[str, list[Stamping]] = {"twin": [poisoning.twin for poisoning in poisonings]}
        if scene.defense:
            compared["plain"] = [poisonings[0].stamping]
        if build(method.component).wake:
            for name in ("woken", "woken_twin"):
                compared[name] = [getattr(poisoning, name) for poisoning in poisonings]
        stampings = tuple(poisoning.stamping for poisoning in poisonings)
        every = (*stampings, *(stamping for several in compared.values() for stamping in several))
        pictures = [_pictures(stampings[0])] if scene.pictured else []
        return BackdoorPlay(
            (*(node for stamping in every for node in stamping.nodes), *pictures),
            tuple(stamping.address for stamping in stampings),
            poisonings[0].surrogate,
            {name: tuple(stamping.address for stamping in several) for name, several in compared.items()},
            poisonings[0].victim,
            stampings=stampings,
            untried="" if tried else why,
        )

    @override
    def verdicts(self, readings: Sequence[Reading], store: Store) -> list[Verdicts]:
        def untried(reading: Reading) -> str:
            play = reading.planned.play
            return play.untried if isinstance(play, BackdoorPlay) else ""

        evidence = (Evidence(reading.outcome, reading.beside, untried=untried(reading)) for reading in readings)
        return [(judge(each), {}) for each in evidence]

    @override
    def gathered(self, play: Play, records: Mapping[str, Any]) -> tuple[Stamped, dict[str, Any]]:
        """The attack that succeeds most on the mean over epochs: a poison is chosen before anything is trained."""

        def success(place: int) -> float:
            record, twin = (records[addresses[place].key] for addresses in (play.outcome, play.beside["twin"]))
            return float((record.hit.float() - twin.hit.float())[:, record.others].mean())

        chosen = max(range(len(play.outcome)), key=success)
        beside = {name: records[several[min(chosen, len(several) - 1)].key] for name, several in play.beside.items()}
        return records[play.outcome[chosen].key], beside


@dataclass(frozen=True)
class _Poisoning:
    """What one backdoor makes of a scene.

    Attributes:
        scene: The clean scene; its victim is the twin.
        backdoor: The backdoor.
        stamp: Its trigger alone.
        epochs: Epochs of the victim that are asked.
        poisoned: The training that is poisoned; of several, the last.
        surrogate: A after poisoning.
        victim: B after poisoning.
        carriers: The public model that is poisoned and its clean twin; none where the target set is.
    """

    scene: Scene
    backdoor: Backdoor
    stamp: Component
    epochs: tuple[int, ...]
    poisoned: Training
    surrogate: Model
    victim: Model
    carriers: tuple[Carrier, ...]

    @classmethod
    def of(cls, component: Component, method: Method, scene: Scene) -> _Poisoning:
        """Poison the trainings of a role and all that comes after them.

        Raises:
            ConfigError: Nothing here can be poisoned so.
        """
        backdoor = build(component)
        if not isinstance(scene.victim.trained, Training):
            raise ConfigError(f"a backdoor needs a victim that is trained here, and {scene.victim} is not.")
        trainings = tuple(_trainings(backdoor, scene))
        if not trainings:
            what = {"source": "a source that is trained here", "common": "a common start that is trained here"}
            raise ConfigError(
                f"into: {backdoor.into} needs {what.get(backdoor.into, 'a victim that learns from the target')}, which "
                f"{scene.victim} does not have."
            )
        for training in trainings:
            if needy := [part for part in training.defense if DEFENSES[part.name].CLEAN]:
                raise ConfigError(
                    f"defense {needy[0]} needs clean images of {training.title}, and into: {backdoor.into} poisons "
                    f"them: use into: {'target' if backdoor.into == 'source' else 'source'}, or another defense."
                )
        change = partial(_poisoned, {training.key for training in trainings}, component)
        surrogate, victim = (model.mapped(change) for model in (scene.surrogate, scene.victim))
        change_of = {training.key: training.mapped(change) for training in trainings}
        first = trainings[-1]
        for training in change_of.values():
            if training.poison:
                training.poison.check(training.data, training.recipe, training.seed)
        carriers: tuple[Carrier, ...] = ()
        if backdoor.into != "target":
            place = backdoor.class_of(first.labels, first.title)
            carriers = tuple(Carrier(model, first.data, place) for model in (change_of[first.key], first))
        epochs = tuple(map(int, method.x)) or doubling(scene.victim.age)
        return cls(
            scene, backdoor, _without(component, OF_PLAN | OF_TRAINING), epochs, change_of[first.key], surrogate,
            victim, carriers,
        )  # fmt: skip

    @property
    def stamping(self) -> Stamping:
        """The poisoned victim along its training."""
        return self._stamping(self.victim, self.carriers[0] if self.carriers else None, self.poisoned)

    @property
    def twin(self) -> Stamping:
        """The clean twin along its training."""
        return self._stamping(self.scene.victim, self.carriers[1] if self.carriers else None)

    @property
    def woken(self) -> Stamping:
        """The victim after a few more epochs with a few stamped images."""
        return self._woken(self.victim)

    @property
    def woken_twin(self) -> Stamping:
        """The clean twin after the same."""
        return self._woken(self.scene.victim)

    def _stamping(self, victim: Model, carrier: Carrier | None, poisoned: Training | None = None) -> Stamping:
        target = self.backdoor.class_of(victim.labels, victim.title)
        fit = self.poisoned.poison.fit if self.poisoned.poison else None
        models = tuple(map(victim.at, along(victim, self.epochs)))
        sifted = next((model for model in _all(victim) if filters(model)), None)
        return Stamping(self.stamp, target, self.scene.test, models, self.epochs, fit, carrier, poisoned, sifted)

    def _woken(self, victim: Model) -> Stamping:
        further, poison = victim.further(WAKING), self.poisoned.poison
        last = further.trained
        assert isinstance(last, Training)
        assert poison
        share = self.backdoor.wake / len(learned_labels(last.data, last.recipe))
        rate = min(1.0, float(f"{share:.4g}"))  # as it reads, and still so many images
        few = BACKDOORS.component(poison.backdoor.name, dict(poison.backdoor.settings) | {"rate": rate})
        target = self.backdoor.class_of(victim.labels, victim.title)
        waking = Poison(few, target, poison.fit, joins=False)
        waking.check(last.data, last.recipe, last.seed)
        woken = further.mapped(lambda training, key: replace(training, poison=waking) if key == last.key else training)
        return Stamping(self.stamp, target, self.scene.test, (woken.at(WAKING),), (WAKING,), poison.fit)


def _pictures(stamping: Stamping) -> StampedPictures:
    return StampedPictures(stamping.stamp, stamping.target, stamping.test, stamping.fit, (stamping.key,))


def _known_attacks(component: Component, scene: Scene) -> list[Component]:
    """The backdoors of attackers who know the defense."""
    components: dict[Component, None] = {}
    for adaptive in scene.defense.adaptive() if scene.defense else ():
        if adaptive.backdoor:
            text = adaptive.backdoor
            another = "(" in text or "=" not in text
            name, changed = BACKDOORS.written(text if another else f"{component.name}({text})")
            own = dict(component.settings) if name == component.name else _shared(component)
            components[_named(name, own | changed)] = None
    return list(components)


def _named(name: str, settings: Mapping[str, Scalar]) -> Component:
    """A backdoor with settings, whose class t is a name also where a bench file has a number."""
    targets = {key: str(value) for key, value in settings.items() if key == "target"}
    return BACKDOORS.component(name, {**settings, **targets})


def _shared(component: Component) -> dict[str, Any]:
    return {name: value for name, value in component.settings if name in OF_PLAN | OF_TRAINING}


def _without(component: Component, names: set[str]) -> Component:
    return replace(component, settings=tuple(item for item in component.settings if item[0] not in names))


def _all(model: Model) -> Iterator[Training]:
    """The trainings under a model, parents first."""
    yield from (node for node in model.nodes if isinstance(node, Training))


def _trainings(backdoor: Backdoor, scene: Scene) -> Iterator[Training]:
    """The trainings that a backdoor is put into: what A (or its common start) learns from, or what B does.

    What a defender trains for himself on the same images comes first: he gets them where everybody does. Out of reach
    it is for attackers who own the training of the public model, and change more of it than its images.
    """
    target, title = scene.test.domain, scene.surrogate.title
    if backdoor.into == "target":
        yield from (training for training in _all(scene.victim) if training.data.domain == target)
        return
    known = [each for each in _all(scene.surrogate) if (each.title == title) == (backdoor.into == "source")]
    if not backdoor.owns and not backdoor.CONTINUES:
        same = {training.data for training in known}
        yield from (each for each in _all(scene.victim) if private(each) and each.data in same)
    yield from known


def _poisoned(keys: set[str], component: Component, training: Training, key: str) -> Training:
    """A training after poisoning."""
    if key not in keys:
        return training
    backdoor = build(component)
    target, own = backdoor.class_of(training.labels, training.title), _without(component, OF_PLAN)
    stamp = _without(own, OF_TRAINING)
    shown = public(training)  # of which the attacker has a clean draw, whoever trains
    assert isinstance(shown, Training)
    fit = TriggerFit(stamp, target, shown, training.data, training.recipe) if backdoor.fits else None
    if backdoor.CONTINUES and training.defense:
        parts = " + ".join(map(str, training.defense))
        raise ConfigError(
            f"{backdoor.name} goes on from a clean {training.title}, which {parts} would not see: leave one out."
        )
    start = training.further(training.recipe.epochs) if backdoor.CONTINUES else training
    return replace(start, poison=Poison(own, target, fit))
