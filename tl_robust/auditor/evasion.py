"""Evasion in an audit: what transfers from the parent and from unrelated models, and what breaks the model itself.

Axes: N images, M unrelated models.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from scipy.special import stdtrit
from torch import Tensor

from tl_robust.attacks import ATTACKS
from tl_robust.audit.record import PRICE, Finding, NotRun, Price
from tl_robust.audit.terms import terms_of
from tl_robust.auditor.files import entry_of
from tl_robust.auditor.reading import Inputs
from tl_robust.auditor.request import Entry
from tl_robust.bench.plan import Plan
from tl_robust.bench.runner import Finished
from tl_robust.config.entries import component_of
from tl_robust.metrics.estimate import TAIL, Draws, clopper_pearson, estimate, least_luck
from tl_robust.nodes.examination import Examinee
from tl_robust.nodes.models import Public
from tl_robust.threats.base import THREATS, Method, PlannedCell, Scene
from tl_robust.threats.evasion import UNSEEN
from tl_robust.trust import worst
from tl_robust.types import Cell, Outcome, Result, Verdict, View

EVASION, ACCURACY = "evasion", "robust_accuracy"
FEW = Verdict("amber", ("There is one unrelated model, and another one may give another price: give three or more.",))
WORST = "worst of"


@dataclass(frozen=True)
class Evasion:
    """What is attacked, and the numbers that come of it.

    Attributes:
        inputs: Models and images.
        methods: Attacks from the parent, at every eps.
        strong: The attack on the model itself.
    """

    inputs: Inputs
    methods: tuple[Method, ...]
    strong: Method

    @classmethod
    def of(cls, inputs: Inputs) -> Evasion:
        """What a request asks for.

        Raises:
            InputError: There is no such attack or setting.
        """
        request = inputs.request
        sizes = tuple(sorted(request.eps))
        methods = tuple(_method(entry, request.norm, sizes, "--transfer") for entry in request.transfer)
        return cls(inputs, methods, _method(request.strong, request.norm, sizes, "--strong"))

    @property
    def eps(self) -> float:
        """The size in force."""
        return max(self.inputs.request.eps)

    @cached_property
    def plan(self) -> Plan:
        """All cells: transfer from the parent at every eps, from decoys at the one in force, then the model itself."""
        model, *others = self.inputs.models
        parents = others[:1] if self.inputs.request.parent else []
        at = [replace(method, x=(self.eps,)) for method in self.methods]
        cells = [self._cell(parent, method, "black") for parent in parents for method in self.methods]
        cells += [self._cell(decoy, method, "black") for decoy in self._decoys for method in at]
        return Plan((*cells, self._cell(model, self.strong, "white")))

    @property
    def _decoys(self) -> tuple[Public, ...]:
        """Unrelated models that the parent is compared with; none without a parent."""
        return self.inputs.models[2:] if self.inputs.request.parent else ()

    def _cell(self, surrogate: Public, method: Method, view: View) -> PlannedCell:
        model, test, seed = self.inputs.models[0], self.inputs.test, self.inputs.request.seed
        cell = Cell(
            bench="audit", source=surrogate.title, target=test.domain, network=str(model.network), strategy="as_is",
            common="", defense="none", attack=method.label, norm=method.norm, view=view, seed=seed, target_images=0,
            threat=EVASION,
        )  # fmt: skip
        scene = Scene(surrogate, model, test, seed, view, (view,))
        play = THREATS[EVASION].play(method, scene)
        assert play
        if surrogate in self._decoys:  # no number is told of a decoy alone, so that an examination would be for nothing
            play = replace(play, nodes=tuple(node for node in play.nodes if not isinstance(node, Examinee)))
        return PlannedCell(cell, method, scene, play)

    def findings(self, finished: Finished) -> tuple[Finding, ...]:
        """Accuracy on clean images, under transfer from the parent by each attack and the worst of them, and white."""
        white = self._of(finished, "white", self.inputs.models[0])
        black = self._from_parent(finished)
        made = [_clean(white[0].outcome)]
        for results, view in ((black, "black"), (white, "white")):
            for place in range(len(self.inputs.request.eps) if results else 0):
                made += _by_attack(results, place, view)
        return tuple(made)

    def price(self, finished: Finished) -> Price | None:
        """What the parent adds to an attacker's success; None without a parent or without unrelated models."""
        parent = [_at(result.outcome, self.eps) for result in self._from_parent(finished)]
        if not parent or not self._decoys:
            return None
        theirs = [self._of(finished, "black", decoy) for decoy in self._decoys]
        turned = [_turned(parent), *(_turned([result.outcome for result in results]) for results in theirs)]
        asked = parent[0].clean_b == parent[0].label
        if not bool(asked.any()):
            return None
        own, *others = (hits[asked].double() for hits in turned)
        red = [
            _without(result.verdict, UNSEEN)
            for results in theirs
            for result in results
            if result.verdict.level == "red"
        ]
        verdict = worst([*(result.verdict for result in self._from_parent(finished)), *red])
        return priced(own, torch.stack(others), self._attack(parent), self.methods[0].norm, self.eps, verdict)

    @property
    def not_run(self) -> tuple[NotRun, ...]:
        """What a reader may look for and the inputs do not allow."""
        request, terms = self.inputs.request, terms_of(EVASION, "black", PRICE)
        if not request.parent:
            what = "No public parent is declared, so nothing was crafted on one: give it by --parent."
            return NotRun(EVASION, ACCURACY, what, terms), NotRun(EVASION, PRICE, what, terms)
        if not request.decoys:
            what = "There is no unrelated model to compare the parent with: give three of the same kind by --decoy."
            return (NotRun(EVASION, PRICE, what, terms),)
        return ()

    def _attack(self, outcomes: Sequence[Outcome]) -> str:
        names = ", ".join(method.label for method in self.methods)
        return f"{WORST} {names}" if len(outcomes) > 1 else names

    def _from_parent(self, finished: Finished) -> list[Result[Outcome]]:
        return self._of(finished, "black", self.inputs.models[1]) if self.inputs.request.parent else []

    @staticmethod
    def _of(finished: Finished, view: str, surrogate: Public) -> list[Result[Outcome]]:
        return [
            result
            for result in finished.results
            if result.cell.view == view and result.provenance["surrogate"]["key"] == surrogate.key
        ]


def priced(
    parent: Tensor, unrelated: Tensor, attack: str, norm: str, eps: float, trust: Verdict | None = None
) -> Price:
    """The price of a public parent: success of transfer from it, less that from unrelated models, image by image.

    Its interval holds what being the parent adds, for other images and other models: :func:`_with_own_luck`. With one
    unrelated model, of which nothing tells how models differ, it is for other images alone.

    Args:
        parent: Which images are turned by examples from the parent, 0 or 1, float64 ``[N]``.
        unrelated: The same of each unrelated model, ``[M,N]``.
        attack: Name with settings.
        norm: Of the perturbation.
        eps: Its size, in [0,1] pixel units.
        trust: Of the numbers from the parent.
    """
    count = len(unrelated)
    columns = torch.stack([parent.expand(count, -1), unrelated], 1)  # [M,2,N]
    kinds = torch.tensor([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0], [0.0, 0.0]], dtype=torch.float64)
    gap = _with_own_luck(Draws.of(columns, lambda means: means[..., :1] - means[..., 1:], kinds))
    theirs = estimate(Draws.of(unrelated[:, None], lambda means: means, kinds[[0, 3], 1:]))
    told = trust or Verdict()
    told = worst([told, FEW]) if count == 1 else told
    where = {"view": "black", "attack": attack, "norm": norm, "eps": eps, "terms": _terms("black", PRICE, attack)}

    def finding(name: str, title: str, value: float, low: float, high: float) -> Finding:
        ends = (min(value, max(-1.0, low)), max(value, min(1.0, high)))
        return Finding(EVASION, name, title, value, *ends, len(parent), "share", "lower", **where, trust=told)  # type: ignore[arg-type]

    value, low, high = (float(end) for end in (theirs.value, *theirs.interval()))
    return Price(
        finding(PRICE, "Price of the public parent", *gap),
        finding("transfer", "Turned by transfer from the parent", *_share(parent)),
        finding("transfer_unrelated", "Turned by transfer from unrelated models", value, max(0.0, low), high),
        count,
    )


def _with_own_luck(draws: Draws) -> tuple[float, float, float]:
    """The mean over unrelated models with the interval of what parenthood adds.

    If it were no parent, it would be one more draw of such models, better or worse to craft on than their mean: the
    variance of models counts once for it and its M-th part for their mean, as in an interval for one further
    observation (Hahn and Meeker, "Statistical Intervals", 1991, section 4.7). Images count beside. Each part has its
    own quantile of Student's t, and the two are added in squares: one quantile for both, by Satterthwaite's degrees of
    freedom, gives intervals of 92 % with three models. With one model images count alone.

    Args:
        draws: Differences between the parent and each model.
    """
    count, mean = len(draws.value), Draws.average([_one(draws, place) for place in range(len(draws.value))])
    images = estimate(mean)
    reach = float(images.interval()[1] - images.value)
    if count > 1:
        luck = least_luck(draws.unseen.mean(0).amax(0), draws.samples) ** 2
        models = torch.maximum(draws.value.var(0), luck) * (1 + 1 / count)
        reach = math.hypot(reach, float(models.sqrt()) * float(-stdtrit(count - 1, TAIL)))
    value = float(images.value)
    return value, value - reach, value + reach


def _one(draws: Draws, place: int) -> Draws:
    rows = slice(place, place + 1)
    return replace(draws, value=draws.value[rows], again=draws.again[rows], unseen=draws.unseen[rows])


def _method(entry: Entry, norm: str, eps: tuple[float, ...], where: str) -> Method:
    component = component_of(ATTACKS, entry_of(entry), where)
    settings = {**dict(component.settings), "norm": norm}
    return THREATS[EVASION].method(ATTACKS.component(component.name, settings), eps)


def _without(verdict: Verdict, other: Verdict) -> Verdict:
    return replace(verdict, reasons=tuple(reason for reason in verdict.reasons if reason not in other.reasons))


def _at(outcome: Outcome, eps: float) -> Outcome:
    place = min(range(len(outcome.eps)), key=lambda k: abs(float(outcome.eps[k]) - eps))
    return replace(
        outcome,
        **{name: getattr(outcome, name)[place : place + 1] for name in ("adv_a", "adv_b", "size", "valid", "eps")},
    )


def _turned(outcomes: Sequence[Outcome]) -> Tensor:
    """Bool ``[N]``: an image that was right is wrong under one of these attacks, each at one eps."""
    first, *others = outcomes
    whole = first.worst(*others) if others else first
    return (whole.adv_b[0] != whole.label) & (whole.clean_b == whole.label)


def _clean(outcome: Outcome) -> Finding:
    right = outcome.clean_b == outcome.label
    return _accuracy(right, "Accuracy on clean images", Verdict(), eps=0.0)


def _by_attack(results: Sequence[Result[Outcome]], place: int, view: str) -> list[Finding]:
    """Accuracy at one eps under each attack and under the worst of all for each image."""
    kept = [
        (result.outcome.adv_b[place] == result.outcome.label) & (result.outcome.clean_b == result.outcome.label)
        for result in results
    ]
    eps = float(results[0].outcome.eps[place])
    made = [
        _accuracy(
            right, "Accuracy under attack", result.verdict,
            view=view, attack=result.cell.attack, norm=result.cell.norm, eps=eps,
        )
        for right, result in zip(kept, results, strict=True)
    ]  # fmt: skip
    if len(results) > 1:
        names = ", ".join(result.cell.attack for result in results)
        trust = worst([result.verdict for result in results])
        norm = results[0].cell.norm
        whole = torch.stack(kept).all(0)
        title = "Accuracy under attack"
        made.append(_accuracy(whole, title, trust, view=view, attack=f"{WORST} {names}", norm=norm, eps=eps))
    return made


def _accuracy(
    right: Tensor,
    title: str,
    trust: Verdict,
    *,
    view: str = "",
    attack: str = "",
    norm: str = "",
    eps: float = math.nan,
) -> Finding:
    value, low, high = _share(right.double())
    terms = _terms(view, ACCURACY, attack)
    return Finding(
        EVASION, ACCURACY, title, value, low, high, len(right), "share", "higher",
        view, attack, norm, eps, trust, terms, tuple(right.tolist()),
    )  # fmt: skip


def _terms(view: str, name: str, attack: str) -> Mapping[str, str]:
    """The words of others; of several attacks those of each."""
    return terms_of(EVASION, view, name, attack.removeprefix(WORST).strip().replace(", ", " + "))


def _share(hits: Tensor) -> tuple[float, float, float]:
    """A share with its exact 95 % interval."""
    low, high = clopper_pearson(hits.sum()[None], torch.tensor([float(len(hits))], dtype=torch.float64))
    return float(hits.mean()), float(low[0]), float(high[0])
