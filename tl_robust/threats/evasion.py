"""Evasion: a small change of an image that changes what B says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from typing_extensions import override

from tl_robust.attacks import ATTACKS
from tl_robust.attacks import get as get_attack
from tl_robust.attacks.norms import check_eps
from tl_robust.defenses import Defense
from tl_robust.errors import ConfigError, StoreError
from tl_robust.nodes.crafting import CraftGroup
from tl_robust.nodes.examination import EXAMINATIONS, Examinee
from tl_robust.nodes.guarded import Guarded
from tl_robust.nodes.isolation import public
from tl_robust.nodes.kind import Address
from tl_robust.nodes.models import Model
from tl_robust.nodes.pictures import PictureGroup
from tl_robust.nodes.store import Store
from tl_robust.registry import Component
from tl_robust.text import eps_text
from tl_robust.threats.base import Method, Play, Reading, Scene, Threat, Verdicts, threat
from tl_robust.trust import judge, worst
from tl_robust.trust.checks.distinct_outcomes import Placed, twins
from tl_robust.types import Evidence, Examination, Face, Outcome, Verdict
from tl_robust.types.terms import ATLAS, NIST, TRANSFER

UNSEEN = Verdict("amber", ("The trust checks could not examine both models.",))


@dataclass(frozen=True, kw_only=True)
class EvasionPlay(Play):
    """Craft groups and an examination of each model.

    Attributes:
        groups: That of the plain attack, then those of attackers who know the defense, each with the cell's victim.
        examinees: A and B as the trust checks examine them; the same one in the white view.
        unknowing: A and B as checks that do not know the defense examine them.
    """

    groups: tuple[CraftGroup, ...]
    examinees: tuple[Examinee, ...]
    unknowing: tuple[Examinee, ...]

    @property
    def group(self) -> CraftGroup:
        """The craft group of the plain attack."""
        return self.groups[0]

    @property
    @override
    def protocol(self) -> Any:
        plain, *adaptive = (
            {name: value for name, value in group.spec.items() if name not in ("seed", "surrogate")}
            for group in self.groups
        )
        return [plain, *adaptive] if adaptive else plain


@threat
class Evasion(Threat):
    """Adversarial examples are crafted on a surrogate and judged on B."""

    METHODS = ATTACKS
    record = Outcome
    face = Face(
        threat="evasion",
        title="Accuracy under attack",
        axis="eps",
        axis_text=eps_text,
        baseline=0.0,
        untouched="no attack",
        headline="robust_accuracy",
        measure="Accuracy of the victim",
        word="accuracy",
        views={
            "black": "Black box: crafted on the source model",
            "white": "White box: crafted on the victim itself",
            "shadow": "Shadow: crafted on a model that the attacker made as the victim was made",
        },
        direct="white",
        claims={"black": ("H2", "H13", "D1"), "white": ("H1", "D3", "D4"), "shadow": ("D2",)},
        whole=("curve_area", "half_eps"),
        charts=("transfer_ratio", "surrogate_ratio", "match_rate"),
        charts_title="Transferability",
        notes={
            "transfer_ratio": "The paper's own formula could not be read: this reading of it is unconfirmed. No point "
            "is drawn where a ratio is undefined (n/a in the table), and points beyond an axis sit on its edge.",
            "half_eps": "Where a curve never falls that far it is the largest eps of the grid: read it as at least. "
            "In [0,1] pixel units: 0.0314 is 8/255.",
        },
        about="A is the public source model, B the victim made for the target. White box: the attacker has B itself. "
        "Black box: the attacker has A alone, and what was crafted on A is tried on B. Eps: how much an image is "
        "changed. Effects of claims are means over eps.",
        prefix="robust",
        terms={NIST: "evasion", ATLAS: "AML.T0015, AML.T0043"},
        terms_of_view={
            "white": {NIST: "white-box evasion", ATLAS: "AML.T0043.000"},
            "black": TRANSFER,
            "shadow": {NIST: "black-box evasion", ATLAS: "AML.T0043.002, AML.T0005"},
        },
    )

    @override
    def method(self, component: Component, x: tuple[float, ...]) -> Method:
        norm = get_attack(component.name, **dict(component.settings)).norm
        if not x:
            raise ConfigError("eps must be given: a list such as [0, 8/255].")
        check_eps(list(x), norm)
        return Method("evasion", component, x, norm)

    @override
    def play(self, method: Method, scene: Scene) -> EvasionPlay:
        groups = self._groups(method, scene, scene.view)
        white = self._groups(method, scene, "white") if "white" in scene.views else []
        victim, plain = scene.victim, groups[0]
        compared = {"white": white, "plain": [plain] if scene.defense else []}
        beside = {name: _judged(several, victim) for name, several in compared.items() if several}
        knowing = _way(scene.defense)
        examinees, unknowing = (
            tuple(_examinee(method, scene, model, way) for model in (plain.surrogate, victim))
            for way in (knowing, knowing if scene.view == "black" else "exact")  # A itself has no guard
        )
        pictures = [PictureGroup(plain)] if scene.pictured and any(method.x) else []
        crafted = (node for group in (*groups, *white) for node in (*group.surrogate.nodes, group))
        nodes = (*crafted, *examinees, *unknowing, *pictures)
        return EvasionPlay(
            nodes,
            _judged(groups, victim),
            plain.surrogate,
            beside,
            groups=tuple(groups),
            examinees=examinees,
            unknowing=unknowing,
        )

    def _groups(self, method: Method, scene: Scene, view: str) -> list[CraftGroup]:
        """The plain attack of a view, then those of an attacker who knows the defense."""
        victim = scene.victim
        surrogate = {"white": victim, "black": scene.surrogate}.get(view) or public(victim.again("shadow"))
        plain = self._group(method.component, method, scene, surrogate)
        groups = {plain.key: plain}
        for adaptive in scene.defense.against(view) if scene.defense else ():
            if adaptive.exists:
                own = victim.around(surrogate) if isinstance(victim, Guarded) and view == "black" else surrogate
                group = self._group(adaptive.made_of(method.component), method, scene, own, adaptive.through)
                groups.setdefault(group.key, group)
        return list(groups.values())

    def _group(
        self, attack: Component, method: Method, scene: Scene, surrogate: Model, through: str = "exact"
    ) -> CraftGroup:
        white = surrogate.key == scene.victim.key
        return CraftGroup(
            surrogate, scene.test, attack, method.x, scene.seed, white, scene.fast, through, (scene.victim,)
        )

    @override
    def worst(self, records: Sequence[Outcome]) -> Outcome:
        first, *others = records
        return first.worst(*others) if others else first

    @override
    def verdicts(self, readings: Sequence[Reading], store: Store) -> list[Verdicts]:
        same = twins([_placed(reading) for reading in readings])
        examinations: dict[str, Examination] = {}
        for reading in readings:
            for examinee in (*_evasion(reading).examinees, *_evasion(reading).unknowing):
                with suppress(StoreError):
                    if examinee.key not in examinations:
                        examinations[examinee.key] = store.load(EXAMINATIONS, examinee.key)
        return [_verdicts(reading, others, examinations) for reading, others in zip(readings, same, strict=True)]


def _judged(groups: Sequence[CraftGroup], victim: Model) -> tuple[Address, ...]:
    return tuple(group.judgment(victim) for group in groups)


def _evasion(reading: Reading) -> EvasionPlay:
    assert isinstance(reading.planned.play, EvasionPlay)
    return reading.planned.play


def _verdicts(reading: Reading, others: tuple[str, ...], examinations: Mapping[str, Examination]) -> Verdicts:
    play, scene, beside = _evasion(reading), reading.planned.scene, dict(reading.beside)
    iterates, plain = play.group.built.ITERATES, beside.pop("plain", None)

    def judged(outcome: Outcome, examinees: Sequence[Examinee], untried: str = "", **more: Outcome) -> Verdict:
        a, b = (examinations.get(examinee.key) for examinee in examinees)
        verdict = judge(Evidence(outcome, {**beside, **more}, a, b, iterates, others, untried))
        return verdict if a and b else worst([verdict, UNSEEN])

    untried = scene.defense.untried(scene.view) if scene.defense else ""
    doubts = {} if plain is None else {"plain_accuracy": judged(plain, play.unknowing, worst=reading.outcome)}
    return judged(reading.outcome, play.examinees, untried), doubts


def _way(defense: Defense | None) -> str:
    """What an examiner who knows the defense takes gradients of."""
    attacks = defense.against("white") if defense else ()
    return next((attack.through for attack in attacks if attack.exists), "exact")


def _examinee(method: Method, scene: Scene, model: Model, way: str) -> Examinee:
    way = way if isinstance(model, Guarded) else "exact"
    return Examinee(model, scene.test, method.norm, method.x, scene.seed, way)


def _placed(reading: Reading) -> Placed:
    group, key = _evasion(reading).group, reading.planned.play.key
    attack = str(group.attack), group.eps, group.fast, group.test.images("test").fingerprint
    at: dict[str, Any] = {name: value for name, value in vars(reading.planned.cell).items() if name != "bench"}
    return Placed(at, key, group.surrogate.key, attack, reading.planned.scene.victim.key, group.early, reading.outcome)
