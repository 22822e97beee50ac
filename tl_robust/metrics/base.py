"""What a metric is: shares of samples, and a formula over them.

Every metric of the protocol is a function of mean values of per-sample indicators. So it is declared by two functions:
``columns`` turns a record into indicators ``[M,N]``, ``formula`` turns their means ``[...,M]`` into values
``[...,K]``. The leading axes let one call compute all bootstrap replicates at once. Authors use the two decorators:
:func:`rate` for a share of samples (exact interval) and :func:`statistic` for a formula of accuracies (bootstrap).

Axes: K values of x (eps), N samples, M columns, S seeds, R bootstrap replicates.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar, Protocol, Self

import torch
from torch import Tensor

from tl_robust.metrics.estimate import Draws, clopper_pearson, estimate, korn_graubard, percentiles
from tl_robust.registry import Registry
from tl_robust.types import Curve, Outcome, Record, View

Beside = Mapping[str, Record] | Record | None  # a record alone is the one that the metric asks for
Seed = tuple[Record, Beside]


class Accuracies(Protocol):
    """What a statistic combines, for one class of records; :class:`Rates` are those of evasion.

    Attributes:
        OF: The class of records.
    """

    OF: ClassVar[type[Record]]

    @classmethod
    def columns(cls, record: Any, beside: Mapping[str, Any]) -> Tensor:
        """Indicators ``[M,N]``, float64, of a record and of those that the statistic needs beside it."""

    @classmethod
    def kinds(cls, k: int, beside: int) -> Tensor:
        """``[P,M]``, what the columns of one sample may be at the extremes, with so many records beside."""

    @classmethod
    def of(cls, means: Tensor, x: Tensor, order: Tensor, beside: Sequence[str]) -> Self:
        """From means of the columns, with the K in ``order``."""


@dataclass(frozen=True)
class Rates:
    """Accuracies that a statistic may combine; any leading axes.

    Accuracy under attack is the share of all samples that are right before and after it.

    Attributes:
        eps: ``[K]``.
        clean_a: Accuracy of the surrogate on clean images, ``[..., 1]``; 1 where it has other labels than the victim.
        clean_b: Accuracy of the victim on clean images, ``[..., 1]``.
        adv_a: Accuracy of the surrogate under its own adversarial images, ``[..., K]``.
        adv_b: Accuracy of the victim under the surrogate's adversarial images, ``[..., K]``.
        beside: Accuracy of the victim in each record that the statistic asked for, ``[..., K]``.
    """

    OF: ClassVar[type[Record]] = Outcome

    eps: Tensor
    clean_a: Tensor
    clean_b: Tensor
    adv_a: Tensor
    adv_b: Tensor
    beside: Mapping[str, Tensor]

    @property
    def white_b(self) -> Tensor:
        """Accuracy of the victim under its own adversarial images, for statistics with ``beside=("white",)``."""
        return self.beside["white"]

    @classmethod
    def columns(cls, outcome: Outcome, beside: Mapping[str, Outcome]) -> Tensor:
        """Right on clean images, A and B; right under attack, A, B, and B in each record beside."""
        right_a = (outcome.clean_a == outcome.label_a)[None]
        right_b = (outcome.clean_b == outcome.label)[None]
        adv_a = right_a & (outcome.adv_a == outcome.label_a)
        others = [right_b & (other.adv_b == outcome.label) for other in (outcome, *beside.values())]
        return torch.cat([right_a, right_b, adv_a, *others]).to(torch.float64)

    @classmethod
    def kinds(cls, k: int, beside: int) -> Tensor:
        """Only who is right on the clean image can be right under an attack."""
        of_a = ((0, 0), (1, 0), (1, 1))
        of_b = [(0, *[0] * (1 + beside)), *((1, *rest) for rest in product((0, 1), repeat=1 + beside))]
        rows = [[a, b, *(right for right in (adv_a, *rest) for _ in range(k))]
                for (a, adv_a), (b, *rest) in product(of_a, of_b)]  # fmt: skip
        return torch.tensor(rows, dtype=torch.float64)

    @classmethod
    def of(cls, means: Tensor, x: Tensor, order: Tensor, beside: Sequence[str]) -> Self:
        """From means of the columns."""
        clean_a, clean_b, *curves = means.split([1, 1, *[len(x)] * (2 + len(beside))], dim=-1)
        adv_a, adv_b, *others = (curve[..., order] for curve in curves)
        return cls(x[order], clean_a, clean_b, adv_a, adv_b, dict(zip(beside, others, strict=True)))


@dataclass(frozen=True)
class Metric:
    """A registered metric.

    Attributes:
        columns: ``(record, records beside it) -> [M,N]`` indicators, float64.
        formula: ``(means [...,M], x [K]) -> [...,K]``, or ``[...,1]`` for a summary.
        kinds: ``K -> [P,M]``, what the columns of one sample may be at the extremes: the same at all x.
        base: ``record -> [K,N] or [N]`` bool, the samples in the denominator.
        doc: First sentence of the author's docstring.
        unit: ``share``, ``ratio``, ``eps``.
        of: The class of records that it reads.
        views: Views it means something in; all where there are none.
        higher_is_better: For the victim's owner; None where neither is.
        beside: Names of the records that it needs beside its own, such as ``white``: B attacked directly.
        summary: One value for a whole curve instead of one per x.
        exact: The value is a binomial share: the interval is Clopper and Pearson's.
    """

    columns: Callable[[Any, Mapping[str, Any]], Tensor]
    formula: Callable[[Tensor, Tensor], Tensor]
    kinds: Callable[[int], Tensor]
    base: Callable[[Any], Tensor]
    doc: str
    unit: str
    of: type[Record] = Outcome
    views: tuple[View, ...] = ()
    higher_is_better: bool | None = None
    beside: tuple[str, ...] = ()
    summary: bool = False
    exact: bool = False

    def applies(self, record: Record, view: View, beside: Mapping[str, Record]) -> bool:
        """Whether it reads such records, means something in this view, and has what it needs beside."""
        return (
            isinstance(record, self.of)
            and (not self.views or view in self.views)
            and all(name in beside for name in self.beside)
        )

    def __call__(self, record: Record, beside: Beside = None) -> Tensor:
        """The value per x.

        Args:
            record: What happened.
            beside: Other records of the same samples and x by name, only for metrics that need some; where it needs
                one, it may stand alone: ``metric(black, white)``.

        Returns:
            float64 ``[K]``, or ``[1]`` for a summary; NaN where the metric is undefined.
        """
        return self.formula(self._columns(record, beside).mean(dim=1), record.x)

    def curve(self, record: Record, beside: Beside = None) -> Curve:
        """The values with a 95 % interval over samples.

        Shares have Clopper and Pearson's exact interval (Biometrika 1934), other formulas a percentile bootstrap over
        samples (Efron and Tibshirani 1993, chapter 13) with a fixed seed.
        """
        return self.mean_curve([(record, beside)])

    def mean_curve(self, seeds: Sequence[Seed]) -> Curve:
        """The mean over seeds, with a 95 % interval over seeds and samples; see :func:`estimate`.

        With one seed the interval speaks of samples only. Undefined values are left out of a mean.

        Args:
            seeds: One record and what is beside it per seed, on the same samples and x.
        """
        x = seeds[0][0].x
        if self.exact and len(seeds) == 1:
            value = self(*seeds[0])
            base = self._base(seeds, value)
            low, high = clopper_pearson((value * base[0]).round(), base[0])
        else:
            draws = self.draws(seeds)
            mean = estimate(draws, floors=not self.exact)  # a share's interval knows of 0 of N by itself
            value, base = mean.value, self._base(seeds, mean.value)
            if self.exact:
                low, high = korn_graubard(mean, base.double().mean(dim=0))
            else:
                low, high = percentiles(draws) if len(seeds) == 1 else mean.interval()
            least, most = self._bounds(x)
            low, high = torch.minimum(low.clamp(min=least), value), torch.maximum(high.clamp(max=most), value)
        low, high = (end.masked_fill(value.isnan(), torch.nan) for end in (low, high))
        return Curve(x if not self.summary else x[:0], value, low, high, base.sum(dim=0))

    def _base(self, seeds: Sequence[Seed], like: Tensor) -> Tensor:
        """Samples in the denominator at each seed, int64 ``[S,K]``."""
        return torch.stack([self.base(record).sum(dim=-1).expand(len(like)) for record, _ in seeds])

    def draws(self, seeds: Sequence[Seed]) -> Draws:
        """The values at every seed, as measured and with the samples drawn again.

        Args:
            seeds: One record and what is beside it per seed, on the same samples and x.
        """
        x = seeds[0][0].x
        columns_SMN = torch.stack([self._columns(record, beside) for record, beside in seeds])
        return Draws.of(columns_SMN, lambda means: self.formula(means, x), self.kinds(len(x)))

    def _bounds(self, x: Tensor) -> tuple[float, float]:
        """Ends of what the value can be."""
        return {"share": (0.0, 1.0), "eps": (float(x.min()), float(x.max()))}.get(self.unit, (-math.inf, math.inf))

    def _columns(self, record: Record, beside: Beside) -> Tensor:
        if not isinstance(record, self.of):
            raise ValueError(f"this metric reads {self.of.__name__}, got {type(record).__name__}")
        if isinstance(beside, Record):
            beside = dict.fromkeys(self.beside[:1], beside)
        others = {name: other for name in self.beside if (other := (beside or {}).get(name))}
        if missing := [name for name in self.beside if name not in others]:
            raise ValueError(
                f"this metric needs another record of the same samples: metric(record, {{{missing[0]!r}: other}})"
            )
        return self.columns(record, others)


METRICS: Registry[Metric] = Registry("metric", "tl_robust.metrics.named")


def curves(record: Record, view: View, beside: Mapping[str, Record]) -> dict[str, Curve]:
    """All metrics that mean something of a record, by name."""
    metrics = {name: METRICS[name] for name in METRICS.names()}
    return {
        name: metric.curve(record, beside) for name, metric in metrics.items() if metric.applies(record, view, beside)
    }


def rate(
    *,
    of: type[Record] = Outcome,
    name: str = "",
    views: tuple[View, ...] = (),
    higher_is_better: bool | None = None,
) -> Callable[[Callable[[Any], tuple[Tensor, Tensor]]], Metric]:
    """Register a share of samples; a decorator.

    The function takes a record of the class ``of`` and returns ``(event [K,N], base [K,N] or [N])``, both bool: the
    value is the share of ``base`` in which ``event`` happened, NaN where ``base`` is empty. Without a ``name`` it has
    that of its file.
    """

    def register(function: Callable[[Any], tuple[Tensor, Tensor]]) -> Metric:
        def columns(record: Record, beside: Mapping[str, Record]) -> Tensor:
            event, base = function(record)
            base = base.expand_as(event)
            return torch.cat([event & base, base]).to(torch.float64)

        def formula(means: Tensor, x: Tensor) -> Tensor:
            hits, base = means.split(len(x), dim=-1)
            return hits / base

        def kinds(k: int) -> Tensor:
            return torch.tensor([[1.0] * 2 * k, [0.0] * k + [1.0] * k], dtype=torch.float64)  # in the base

        def base(record: Record) -> Tensor:
            return function(record)[1]

        metric = Metric(
            columns, formula, kinds, base, _first_sentence(function), "share", of, views, higher_is_better, exact=True
        )
        return METRICS.register(metric, function.__module__, name)

    return register


def statistic(
    *,
    of: type[Accuracies] = Rates,
    name: str = "",
    unit: str = "ratio",
    views: tuple[View, ...] = (),
    higher_is_better: bool | None = None,
    beside: tuple[str, ...] = (),
    summary: bool = False,
) -> Callable[[Callable[[Any], Tensor]], Metric]:
    """Register a formula of accuracies; a decorator.

    The function maps the accuracies ``of`` (:class:`Rates`, unless said otherwise) to ``[..., K]``, or ``[..., 1]``
    with ``summary``. Without a ``name`` it has that of its file.
    """

    def register(function: Callable[[Any], Tensor]) -> Metric:
        def formula(means: Tensor, x: Tensor) -> Tensor:
            order = x.argsort() if summary else torch.arange(len(x))  # a whole curve is read from left to right
            return function(of.of(means, x, order, beside))

        def kinds(k: int) -> Tensor:
            return of.kinds(k, len(beside))

        def base(record: Record) -> Tensor:
            return torch.ones_like(record.sample_id, dtype=torch.bool)

        metric = Metric(
            of.columns, formula, kinds, base, _first_sentence(function), unit, of.OF, views, higher_is_better, beside,
            summary,
        )  # fmt: skip
        return METRICS.register(metric, function.__module__, name)

    return register


def _first_sentence(function: Callable[..., object]) -> str:
    return (function.__doc__ or "").strip().split("\n\n")[0].replace("\n", " ")
