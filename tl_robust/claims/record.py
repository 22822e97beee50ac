"""The results of a bench, as claims ask for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from tl_robust.claims.effects import Effect, MissingError
from tl_robust.metrics import METRICS
from tl_robust.metrics.estimate import Draws, estimate
from tl_robust.types import Cell, Result, View

_Basis = tuple[tuple[int, ...], tuple[int, ...], tuple[float, ...]]  # seeds, samples, eps
FEWEST = 3  # seeds: where seeds differ much, two would support 8 of 100 claims that are false
KNOWN = 0.1  # standard error of a ratio up to which an eps counts


@dataclass(frozen=True)
class Place:
    """What a claim is judged at: all coordinates of a cell but strategy, common domain, view and seed."""

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
        """Attack and norm."""
        return f"{self.attack} {self.norm}"


class Record:
    """Results without a defense, by place, strategy, common domain and view.

    Args:
        results: Of one bench.
    """

    def __init__(self, results: Sequence[Result[Any]]) -> None:
        self._cells: dict[tuple[Place, str, View], dict[str, dict[int, Result[Any]]]] = {}
        self._drawn: dict[tuple[Place, str, View, str], tuple[Draws, _Basis]] = {}
        for result in results:
            cell = result.cell
            if cell.defense in ("", "none"):
                commons = self._cells.setdefault((Place.of(cell), cell.strategy, cell.view), {})
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
        more: str,
        less: str,
        name: str = "",
    ) -> Effect:
        """How much higher a metric is with strategy ``more`` than with ``less``, on the same samples and seeds.

        Eps above 0 count; of a ratio those at which both strategies' values are known to a standard error of 0.1.

        Raises:
            MissingError: A strategy was not run, a cell is red, or there are fewer than three seeds.
        """
        draws, eps = self.gap(place, metric, view, more, less)
        return Effect.of(name or f"{view} box {metric}, {more} over {less}", draws, eps, METRICS[metric].unit)

    def gap(self, place: Place, metric: str, view: View, more: str, less: str) -> tuple[Draws, tuple[float, ...]]:
        """The draws behind :meth:`compare`, ``[S,K]``, and their eps."""
        sides = [self._strategy(place, strategy, view, metric) for strategy in (more, less)]
        (first, sizes), (second, others) = sides
        if sizes != others:
            raise MissingError(f"{more} and {less} were judged on other samples, seeds or eps.")
        eps = torch.tensor([float(size) for size in sizes[2]])
        counts = eps > 0
        for one in (first, second):
            counts &= ~one.value.isnan().any(0) & ~one.again.isnan().any(1).any(0)
            if METRICS[metric].unit == "ratio":
                counts &= estimate(one).error <= KNOWN
        if not bool(counts.any()):
            raise MissingError(f"{metric} is known well enough at no eps.")
        places = counts.nonzero().squeeze(1)
        return (first - second).at(places), tuple(sizes[2][index] for index in places.tolist())

    def clean(self, place: Place, more: str, less: str) -> Draws:
        """How much higher the accuracy on clean images is, ``[S,1]``."""
        (first, sizes), (second, others) = (
            self._strategy(place, strategy, "black", "robust_accuracy") for strategy in (more, less)
        )
        if sizes != others or 0 not in sizes[2]:
            raise MissingError("it needs eps 0, and the same samples and seeds for both strategies.")
        return (first - second).at(torch.tensor([sizes[2].index(0)]))

    def _strategy(self, place: Place, strategy: str, view: View, metric: str) -> tuple[Draws, _Basis]:
        """Draws of a strategy, the mean over its common domains, and what they are of; kept for the other claims."""
        key = place, strategy, view, metric
        if key not in self._drawn:
            self._drawn[key] = self._draw(place, strategy, view, metric)
        return self._drawn[key]

    def _draw(self, place: Place, strategy: str, view: View, metric: str) -> tuple[Draws, _Basis]:
        commons = self._cells.get((place, strategy, view))
        if not commons:
            raise MissingError(f"it needs strategy {strategy} in the {view} box.")
        red = [result for seeds in commons.values() for result in seeds.values() if result.verdict.level == "red"]
        if red:
            raise MissingError(f"{len(red)} of its cells are red, the first: {red[0].cell}.")
        found, known = list[Draws](), set[_Basis]()
        for seeds in commons.values():
            if len(seeds) < FEWEST:
                count = "one seed decides" if len(seeds) == 1 else f"{len(seeds)} seeds decide"
                raise MissingError(
                    f"{count} nothing: it needs at least three seeds, better five (axes.seed=[0,1,2,3,4])."
                )
            for name in METRICS[metric].beside:
                if any(name not in result.beside for result in seeds.values()):
                    raise MissingError(f"{metric} needs the {name} box beside the {view} one.")
            results = [seeds[seed] for seed in sorted(seeds)]
            ids = {tuple(result.outcome.sample_id.tolist()) for result in results}
            grids = {tuple(result.outcome.x.tolist()) for result in results}
            if len(ids) > 1 or len(grids) > 1:
                raise MissingError("its seeds were judged on other samples or eps.")
            found.append(METRICS[metric].draws([(result.outcome, result.beside) for result in results]))
            known.add((tuple(sorted(seeds)), ids.pop(), grids.pop()))
        if len(known) > 1:
            raise MissingError("its common domains were judged on other samples, seeds or eps.")
        basis = known.pop()
        return replace(Draws.average(found), met=(place.target, *basis[:2])), basis
