"""Metrics that are functions of mean values of samples: shares, differences of shares, and formulas over accuracies.

Every metric of the protocol is one. So it is declared by two functions: ``columns`` turns a record into indicators
``[M,N]``, ``formula`` turns their means ``[...,M]`` into values ``[...,K]``. The leading axes let one call compute all
bootstrap replicates at once. Authors use the decorators: :func:`rate` for a share of samples (exact interval),
:func:`difference` for one share minus another of the same samples, and :func:`statistic` for a formula of accuracies
(both bootstrap).

Axes: K values of x (eps), N samples, M columns, S seeds, R bootstrap replicates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar, Protocol, Self

import torch
from torch import Tensor

from tl_robust.metrics.estimate import Draws, clopper_pearson, estimate, korn_graubard, percentiles
from tl_robust.metrics.metric import METRICS, Beside, Metric, Seed, first_paragraph
from tl_robust.types import Curve, Outcome, Record, View
from tl_robust.types.terms import NONE, Terms

Others = Mapping[str, Any]


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
        """From means of the columns ``[..., columns]``, at x ``[K]``, with the K in ``order``, int64 ``[K]``."""


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
        """Accuracy of the victim under its own adversarial images ``[..., K]``, where ``beside=("white",)``."""
        return self.beside["white"]

    @classmethod
    def columns(cls, outcome: Outcome, beside: Mapping[str, Outcome]) -> Tensor:
        """Right on clean images, A and B; under attack, A, B, and B in each record beside: ``[M,N]``."""
        right_a = (outcome.clean_a == outcome.label_a)[None]
        right_b = (outcome.clean_b == outcome.label)[None]
        adv_a = right_a & (outcome.adv_a == outcome.label_a)
        others = [right_b & (other.adv_b == outcome.label) for other in (outcome, *beside.values())]
        return torch.cat([right_a, right_b, adv_a, *others]).to(torch.float64)

    @classmethod
    def kinds(cls, k: int, beside: int) -> Tensor:
        """Only who is right on the clean image can be right under an attack; ``[P,M]``, as in :class:`Accuracies`."""
        of_a = ((0, 0), (1, 0), (1, 1))
        of_b = [(0, *[0] * (1 + beside)), *((1, *rest) for rest in product((0, 1), repeat=1 + beside))]
        rows = [[a, b, *(right for right in (adv_a, *rest) for _ in range(k))]
                for (a, adv_a), (b, *rest) in product(of_a, of_b)]  # fmt: skip
        return torch.tensor(rows, dtype=torch.float64)

    @classmethod
    def of(cls, means: Tensor, x: Tensor, order: Tensor, beside: Sequence[str]) -> Self:
        """From means of the columns ``[..., columns]``, at eps ``[K]``."""
        clean_a, clean_b, *curves = means.split([1, 1, *[len(x)] * (2 + len(beside))], dim=-1)
        adv_a, adv_b, *others = (curve[..., order] for curve in curves)
        return cls(x[order], clean_a, clean_b, adv_a, adv_b, dict(zip(beside, others, strict=True)))


@dataclass(frozen=True, kw_only=True)
class OfMeans(Metric):
    """A metric that is a function of means.

    Attributes:
        columns: ``(record, records beside it) -> [M,N]`` indicators, float64. N may be other images than those of the
            test set, such as training images.
        formula: ``(means [...,M], x [K]) -> [...,K]``, or ``[...,1]`` for a summary.
        kinds: ``K -> [P,M]``, what the columns of one sample may be at the extremes: the same at all x.
        base: ``(record, records beside it) -> [K,N] or [N]`` bool, the samples in the denominator.
    """

    columns: Callable[[Any, Others], Tensor]
    formula: Callable[[Tensor, Tensor], Tensor]
    kinds: Callable[[int], Tensor]
    base: Callable[[Any, Others], Tensor]

    def __call__(self, record: Record, beside: Beside = None) -> Tensor:
        """The value per x."""
        return self.formula(self._columns(record, beside).mean(dim=1), record.x)

    def mean_curve(self, seeds: Sequence[Seed]) -> Curve:
        """The mean over seeds, with a 95 % interval over seeds and samples; see :func:`estimate`.

        Of one seed, shares have Clopper and Pearson's exact interval (Biometrika 1934), other formulas a percentile
        bootstrap over samples (Efron and Tibshirani 1993, chapter 13) with a fixed seed.
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
            on_axis = self.unit == seeds[0][0].AXIS  # the value is a place on it
            least, most = (float(x.min()), float(x.max())) if on_axis else self.bounds
            low, high = torch.minimum(low.clamp(min=least), value), torch.maximum(high.clamp(max=most), value)
        low, high = (end.masked_fill(value.isnan(), torch.nan) for end in (low, high))
        return Curve(x if not self.summary else x[:0], value, low, high, base.sum(dim=0))

    def draws(self, seeds: Sequence[Seed]) -> Draws:
        """The values at every seed, as measured and with the samples drawn again."""
        x = seeds[0][0].x
        columns_SMN = torch.stack([self._columns(record, beside) for record, beside in seeds])
        return Draws.of(columns_SMN, lambda means: self.formula(means, x), self.kinds(len(x)))

    def _base(self, seeds: Sequence[Seed], like: Tensor) -> Tensor:
        """Samples in the denominator at each seed, int64 ``[S,K]``."""
        counts = [self.base(record, self._beside(record, beside)[0]).sum(dim=-1) for record, beside in seeds]
        return torch.stack([count.expand(len(like)) for count in counts])

    def _columns(self, record: Record, beside: Beside) -> Tensor:
        others, known = self._beside(record, beside)
        columns = self.columns(record, others)
        return columns if known else columns * torch.nan

    def _beside(self, record: Record, beside: Beside) -> tuple[Others, bool]:
        """The records beside it, and whether there are any: where not, the record itself has their place."""
        others = self.others(record, beside)
        known = bool(others) or not self.beside
        return others if known else dict.fromkeys(self.beside, record), known


def rate(
    *,
    of: type[Record] = Outcome,
    name: str = "",
    views: tuple[View, ...] = (),
    higher_is_better: bool | None = None,
    beside: tuple[str, ...] = (),
    summary: bool = False,
    when: Callable[[Any], bool] | None = None,
    terms: Terms = NONE,
) -> Callable[[Callable[..., tuple[Tensor, Tensor]]], Metric]:
    """Register a share of samples; a decorator.

    The function takes a record of the class ``of``, and those ``beside`` in their order, and returns ``(event [K,N],
    base [K,N] or [N])``, both bool: the value is the share of ``base`` in which ``event`` happened, NaN where ``base``
    is empty. With ``summary`` both are ``[N]``. Without a ``name`` it has that of its file.
    """

    def register(function: Callable[..., tuple[Tensor, Tensor]]) -> Metric:
        def columns(record: Record, others: Others) -> Tensor:
            event, base = (torch.atleast_2d(part) for part in function(record, *others.values()))
            base = base.expand_as(event)
            return torch.cat([event & base, base]).to(torch.float64)

        def formula(means: Tensor, x: Tensor) -> Tensor:
            hits, base = means.chunk(2, dim=-1)
            return hits / base

        def kinds(k: int) -> Tensor:
            k = 1 if summary else k
            return torch.tensor([[1.0] * 2 * k, [0.0] * k + [1.0] * k], dtype=torch.float64)  # in the base

        metric = OfMeans(
            columns=columns, formula=formula, kinds=kinds, base=lambda *records: _last(function, *records),
            doc=first_paragraph(function), unit="share", of=of, views=views, higher_is_better=higher_is_better,
            beside=beside, summary=summary, when=when, exact=True, terms=terms,
        )  # fmt: skip
        return METRICS.register(metric, function.__module__, name)

    return register


def difference(
    *,
    of: type[Record],
    name: str = "",
    views: tuple[View, ...] = (),
    higher_is_better: bool | None = None,
    beside: tuple[str, ...] = (),
    summary: bool = False,
    when: Callable[[Any], bool] | None = None,
    alone: bool = False,
) -> Callable[[Callable[..., tuple[Tensor, Tensor, Tensor]]], Metric]:
    """Register the difference of two shares of the same samples; a decorator.

    The function takes what that of a :func:`rate` does and returns ``(first [K,N], second [K,N], base [N])``, all bool:
    the value is the share of ``base`` in which ``first`` happened, minus that in which ``second`` did. Both are drawn
    again together, sample by sample, so that what they have in common does not widen the interval.
    """

    def register(function: Callable[..., tuple[Tensor, Tensor, Tensor]]) -> Metric:
        def columns(record: Record, others: Others) -> Tensor:
            first, second, base = (torch.atleast_2d(part) for part in function(record, *others.values()))
            return torch.cat([first & base, second & base, base]).to(torch.float64)

        def formula(means: Tensor, x: Tensor) -> Tensor:
            each = (means.shape[-1] - 1) // 2
            first, second, base = means.split([each, each, 1], dim=-1)
            return (first - second) / base

        def kinds(k: int) -> Tensor:
            k = 1 if summary else k
            rows = [[first] * k + [second] * k + [1.0] for first, second in product((0.0, 1.0), repeat=2)]
            return torch.tensor(rows, dtype=torch.float64)  # in the base

        metric = OfMeans(
            columns=columns, formula=formula, kinds=kinds, base=lambda *records: _last(function, *records),
            doc=first_paragraph(function), unit="share", of=of, views=views, higher_is_better=higher_is_better,
            beside=beside, summary=summary, when=when, alone=alone, signed=True,
        )  # fmt: skip
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
    when: Callable[[Any], bool] | None = None,
    base: Callable[[Any], Tensor] | None = None,
) -> Callable[[Callable[[Any], Tensor]], Metric]:
    """Register a formula of accuracies; a decorator.

    The function maps the accuracies ``of`` (:class:`Rates`, unless said otherwise) to ``[..., K]``, or ``[..., 1]``
    with ``summary``. Without a ``name`` it has that of its file, without a ``base`` it is over all samples.
    """

    def register(function: Callable[[Any], Tensor]) -> Metric:
        def formula(means: Tensor, x: Tensor) -> Tensor:
            order = x.argsort() if summary else torch.arange(len(x))  # a whole curve is read from left to right
            return function(of.of(means, x, order, beside))

        def counted(record: Record, others: Others) -> Tensor:
            return base(record) if base else torch.ones_like(record.sample_id, dtype=torch.bool)

        metric = OfMeans(
            columns=of.columns, formula=formula, kinds=lambda k: of.kinds(k, len(beside)), base=counted,
            doc=first_paragraph(function), unit=unit, of=of.OF, views=views, higher_is_better=higher_is_better,
            beside=beside, summary=summary, when=when,
        )  # fmt: skip
        return METRICS.register(metric, function.__module__, name)

    return register


def _last(function: Callable[..., tuple[Tensor, ...]], record: Record, others: Others) -> Tensor:
    return function(record, *others.values())[-1]
