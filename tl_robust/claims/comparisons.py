"""The results of a bench, as claims ask for them: one side against another on the same samples and seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from tl_robust.claims.effects import Effect, MissingError
from tl_robust.metrics import METRICS
from tl_robust.metrics.estimate import Draws, estimate
from tl_robust.metrics.pairs import OfCohort
from tl_robust.types import Cell, Result, View

_Basis = tuple[tuple[int, ...], tuple[int, ...], tuple[float, ...], int]  # seeds, samples, x, seeds or pairs in draws
FEWEST = 3  # seeds, or pairs: where these differ much, two would support 8 of 100 claims that are false
KNOWN = 0.1  # standard error of a ratio up to which a value of x counts
UNDEFENDED = "none"  # as tables name the absence of a defense
BOXES = ("white", "black", "shadow")  # views that are called boxes


@dataclass(frozen=True)
class Place:
    """What a claim is decided at: all coordinates of a cell but its side, common domain, view and seed."""

    source: str
    target: str
    network: str
    target_images: int
    attack: str
    norm: str

    @classmethod
    def of(cls, cell: Cell) -> Place:
        """The place of a cell."""
        return cls(cell.source, cell.target, cell.network, cell.target_images, cell.attack, cell.norm)

    @property
    def method(self) -> str:
        """Attack and norm, where it has one."""
        return f"{self.attack} {self.norm}".rstrip()


@dataclass(frozen=True)
class Side:
    """One of two victims that a claim compares.

    Attributes:
        strategy: How B was trained, as tables name it.
        defense: What protects it, as tables name it.
    """

    strategy: str
    defense: str = UNDEFENDED

    @classmethod
    def of(cls, side: Side | str) -> Side:
        """The side itself; a text is a strategy without a defense."""
        return cls(side) if isinstance(side, str) else side

    def __str__(self) -> str:
        return self.strategy + f" with defense {self.defense}" * (self.defense != UNDEFENDED)


class Comparisons:
    """Results of one threat by place, side, common domain and view.

    Args:
        results: Of one bench and threat, at least one.

    Attributes:
        axis: The word for what stands on the axis of the threat: ``eps``, ``epochs``.
    """

    def __init__(self, results: Sequence[Result[Any]]) -> None:
        self.axis: str = results[0].outcome.AXIS
        self._cells: dict[tuple[Place, Side, View], dict[str, dict[int, Result[Any]]]] = {}
        self._drawn: dict[tuple[Place, Side, View, str], tuple[Draws, _Basis]] = {}
        for result in results:
            cell = result.cell
            side = Side(cell.strategy, cell.defense or UNDEFENDED)
            commons = self._cells.setdefault((Place.of(cell), side, cell.view), {})
            commons.setdefault(cell.common, {})[cell.seed] = result

    @property
    def places(self) -> tuple[Place, ...]:
        """All places, in the order of the cells."""
        return tuple(dict.fromkeys(place for place, _, _ in self._cells))

    def title(self, place: Place) -> str:
        """Source and target, with the network where a pair has several."""
        same = [other for other in self.places if (other.source, other.target) == (place.source, place.target)]
        more = f" ({place.network})" if len({other.network for other in same}) > 1 else ""
        return f"{place.source} → {place.target}{more}"

    def labels(self, place: Place) -> str:
        """How many labeled target images: ``50 labels``, ``all labels``; empty where no pair has two numbers of them.

        What was asked for names it, since all labels are another number on another target.
        """
        counts: dict[tuple[str, str, str], set[int]] = {}
        for other in self.places:
            counts.setdefault((other.source, other.target, other.network), set()).add(other.target_images)
        if max(map(len, counts.values())) < 2:
            return ""
        share = self._victim(place).get("share")
        if not isinstance(share, float | int) or not 0 < share <= 1:
            return f"{place.target_images} labels"
        return "all labels" if share == 1 else f"{100 * share:.3g} % of the labels"

    def sides(self, place: Place, view: View) -> tuple[Side, ...]:
        """All sides that were run at a place in a view, in the order of the cells."""
        return tuple(side for where, side, seen in self._cells if (where, seen) == (place, view))

    def results(self, place: Place, side: Side | str, view: View) -> tuple[Result[Any], ...]:
        """The results of a side by common domain and seed; none where it was not run."""
        commons = self._cells.get((place, Side.of(side), view), {})
        return tuple(result for seeds in commons.values() for result in seeds.values())

    def space(self, place: Place) -> str:
        """Name of the space of the place's victims; empty where it was not recorded."""
        return str(self._victim(place).get("space", ""))

    def _victim(self, place: Place) -> Mapping[str, Any]:
        """Where a victim of the place comes from; empty where it was not recorded."""
        commons = next(commons for (where, _, _), commons in self._cells.items() if where == place)
        result = next(iter(next(iter(commons.values())).values()))
        victim: Mapping[str, Any] = result.provenance.get("victim", {})
        return victim

    def compare(
        self,
        place: Place,
        metric: str,
        view: View,
        more: Side | str,
        less: Side | str,
        name: str = "",
        *,
        than: Place | None = None,
        last: bool = False,
        at: float | None = None,
    ) -> Effect:
        """How much higher a metric is on side ``more`` than on ``less``, on the same samples and seeds.

        A text is a strategy without a defense. Values of x above 0 count, since at 0 nothing has happened yet; of a
        ratio those at which the values of both sides are known to a standard error of 0.1. Of a metric that sums a
        whole curve up there is one value.

        Args:
            place: Where.
            metric: Its registered name.
            view: View of both sides.
            more: The side on which it should be higher.
            less: The other side.
            name: What the effect is called.
            than: Where the other side stands, such as the place of another attack; ``place`` where None.
            last: Only the largest x counts.
            at: Only this x counts.

        Raises:
            MissingError: A side was not run, a cell is red, there are fewer than three seeds (or pairs of models within
                a single seed), the sides have other numbers of them, or ``at`` was not asked.
        """
        draws, x = self.gap(place, metric, view, more, less, than=than, last=last, at=at)
        beside = f" on {than.method}" if than else ""
        text = f"{_seen(view)}{metric}, {more} over {less}{beside}"
        return Effect.of(name or text, draws, x, METRICS[metric].unit)

    def gap(
        self,
        place: Place,
        metric: str,
        view: View,
        more: Side | str,
        less: Side | str,
        *,
        than: Place | None = None,
        last: bool = False,
        at: float | None = None,
    ) -> tuple[Draws, tuple[float, ...]]:
        """The draws behind :meth:`compare`, ``[S,K]``, and their x."""
        first, basis = self._side(place, Side.of(more), view, metric)
        second, other = self._side(than or place, Side.of(less), view, metric)
        if basis[3] != other[3]:
            counts = f"{basis[3]} {first.units}, {less} by {other[3]} {second.units}"
            raise MissingError(f"{more} was judged by {counts}: both need as many.")
        if basis != other:
            raise MissingError(f"{more} and {less} were judged on other samples, seeds or {self.axis}.")
        return self._counted(first - second, metric, basis[2], (first, second), last, at)

    def below(
        self,
        place: Place,
        metric: str,
        view: View,
        side: Side | str,
        bound: float,
        name: str = "",
        *,
        last: bool = False,
        at: float | None = None,
    ) -> Effect:
        """How far a metric is below a bound on one side; what counts and may be missing is as in :meth:`compare`."""
        draws, basis = self._side(place, Side.of(side), view, metric)
        room = replace(-draws, value=bound - draws.value, again=bound - draws.again)
        text = f"{_seen(view)}{metric} below {bound:g}, {side}"
        return Effect.of(name or text, *self._counted(room, metric, basis[2], (draws,), last, at), METRICS[metric].unit)

    def _counted(
        self, draws: Draws, metric: str, x: tuple[float, ...], sides: tuple[Draws, ...], last: bool, at: float | None
    ) -> tuple[Draws, tuple[float, ...]]:
        """The draws ``[S,K]`` at the x that count, where those of all sides are known, and these x."""
        places = torch.tensor(x, dtype=torch.float64)
        counts = torch.ones(1, dtype=torch.bool) if METRICS[metric].summary else places > 0
        if last and not METRICS[metric].summary:
            counts &= places == places.max()
        if at is not None and not METRICS[metric].summary:
            if at not in x:
                raise MissingError(f"it needs {metric} at {self.axis} {at:g} ({self.axis}=[0,{at:g}]).")
            counts = places == at  # 0, too, where it is asked for
        for side in sides:
            counts &= ~side.value.isnan().any(0) & ~side.again.isnan().any(1).any(0)
            if METRICS[metric].unit == "ratio":
                counts &= estimate(side).error <= KNOWN
        if not bool(counts.any()):
            one = last or at is not None
            where = f"at the last {self.axis}" if last else f"at no {self.axis}"
            where = where if at is None else f"at {self.axis} {at:g}"
            raise MissingError(f"{metric} is {'not ' * one}known well enough {where}.")
        indices = counts.nonzero().squeeze(1)
        kept = () if METRICS[metric].summary else tuple(x[index] for index in indices.tolist())
        return draws.at(indices), kept

    def clean(self, place: Place, more: Side | str, less: Side | str) -> Draws:
        """How much higher the accuracy on clean images is, ``[S,1]``."""
        (first, basis), (second, other) = (
            self._side(place, Side.of(side), "black", "robust_accuracy") for side in (more, less)
        )
        if basis != other or 0 not in basis[2]:
            raise MissingError("it needs eps 0, and the same samples and seeds for both strategies.")
        return (first - second).at(torch.tensor([basis[2].index(0)]))

    def _side(self, place: Place, side: Side, view: View, metric: str) -> tuple[Draws, _Basis]:
        """Draws of a side, the mean over its common domains, and what they are of; kept for the other claims."""
        key = place, side, view, metric
        if key not in self._drawn:
            self._drawn[key] = self._draw(place, side, view, metric)
        return self._drawn[key]

    def _draw(self, place: Place, side: Side, view: View, metric: str) -> tuple[Draws, _Basis]:
        commons = self._cells.get((place, side, view))
        if not commons:
            raise MissingError(f"it needs strategy {side} in {_named(view)}.")
        red = [result for seeds in commons.values() for result in seeds.values() if result.verdict.level == "red"]
        if red:
            raise MissingError(f"{len(red)} of its cells are red, the first: {red[0].cell}.")
        draws, bases = list[Draws](), set[_Basis]()
        for seeds in commons.values():
            for name in METRICS[metric].beside:
                if any(name not in result.beside for result in seeds.values()):
                    of_box = f"the {name} box beside the {view} one"
                    what = of_box if name in BOXES else f"the record {name!r} beside its own"
                    raise MissingError(f"{metric} needs {what}.")
            results = [seeds[seed] for seed in sorted(seeds)]
            ids = {tuple(result.outcome.sample_id.tolist()) for result in results}
            grids = {tuple(result.outcome.x.tolist()) for result in results}
            if len(ids) > 1 or len(grids) > 1:
                raise MissingError(f"its seeds were judged on other samples or {self.axis}.")
            drawn = METRICS[metric].draws([(result.outcome, result.beside) for result in results])
            if len(drawn.value) < FEWEST:
                raise MissingError(_too_few(len(drawn.value), drawn.units, isinstance(METRICS[metric], OfCohort)))
            draws.append(drawn)
            bases.add((tuple(sorted(seeds)), ids.pop(), grids.pop(), len(drawn.value)))
        if len(bases) > 1:
            raise MissingError(f"its common domains were judged on other samples, seeds or {self.axis}.")
        basis = bases.pop()
        of_source = view == "source" and isinstance(METRICS[metric], OfCohort)  # what the public models learned from
        domain = place.source if of_source else place.target
        return replace(Draws.average(draws), met=(domain, basis[0], basis[1], basis[3])), basis


def _too_few(count: int, units: str, by_pairs: bool) -> str:
    """That so few seeds, or pairs of models within one seed, decide nothing, and what would."""
    few = f"one {units.removesuffix('s')} decides" if count == 1 else f"{count} {units} decide"
    if units == "pairs":
        return f"{few} nothing: it needs at least three pairs of models, better twelve (pairs=12)."
    alone = ", or a single one, whose pairs of models count" * by_pairs
    return f"{few} nothing: it needs at least three seeds, better five (axes.seed=[0,1,2,3,4]){alone}."


def _named(view: str) -> str:
    """A view in a sentence."""
    return f"the {view} box" if view in BOXES else f"the view {view!r}"


def _seen(view: View) -> str:
    """What stands before the name of a metric in a view."""
    return f"{view} box " if view in BOXES else ""
