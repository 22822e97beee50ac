"""Metrics that are no function of means: what is read off other metrics' intervals, and plain counts.

Neither has an interval of its own. Axes: K values of x, S seeds, R bootstrap replicates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from tl_robust.metrics.estimate import REPLICATES, Draws
from tl_robust.metrics.metric import METRICS, Beside, Metric, Seed, first_paragraph
from tl_robust.types import Curve, Record
from tl_robust.types.terms import NONE, Terms


@dataclass(frozen=True, kw_only=True)
class Reading(Metric):
    """One value that is read off the curves of other metrics with their intervals.

    The mean over seeds is read off the mean curves, whose intervals speak of seeds and samples, and is not the mean of
    what single seeds say: each of these has a wider interval.

    Attributes:
        sources: Names of the metrics.
        read: ``(their curves) -> a curve of one value``.
    """

    sources: tuple[str, ...]
    read: Callable[..., Curve]

    @override
    def __call__(self, record: Record, beside: Beside = None) -> Tensor:
        return self.curve(record, beside).value

    @override
    def mean_curve(self, seeds: Sequence[Seed]) -> Curve:
        for record, beside in seeds:
            self.others(record, beside)
        return self.read(*(METRICS[name].mean_curve(seeds) for name in self.sources))

    @override
    def draws(self, seeds: Sequence[Seed]) -> Draws:
        """The values at every seed; samples drawn again have the same, since an interval is of all samples."""
        return _fixed(torch.stack([self(*seed) for seed in seeds]), len(seeds[0][0].sample_id))


@dataclass(frozen=True, kw_only=True)
class Number(Metric):
    """A number that is known and not estimated, such as how many images were poisoned: both ends are the value.

    Attributes:
        count: ``record -> (how many, of how many)``. Of the unit ``share`` the value is the one over the other, NaN
            where there are none; of others it is how many.
    """

    count: Callable[[Any], tuple[Tensor, Tensor]]

    @override
    def __call__(self, record: Record, beside: Beside = None) -> Tensor:
        self.others(record, beside)
        many, of_many = self.count(record)
        return (many.double() / (of_many if self.unit == "share" else 1)).reshape(1)

    @override
    def mean_curve(self, seeds: Sequence[Seed]) -> Curve:
        value = torch.stack([self(*seed) for seed in seeds]).nanmean(0)
        counted = sum(int(self.count(record)[1]) for record, _ in seeds)
        return Curve(value[:0], value, value, value, torch.tensor([counted]))

    @override
    def draws(self, seeds: Sequence[Seed]) -> Draws:
        """The values at every seed, however samples are drawn."""
        return _fixed(torch.stack([self(*seed) for seed in seeds]), len(seeds[0][0].sample_id))


def _fixed(value: Tensor, samples: int) -> Draws:
    """Draws of values ``[S,1]`` that do not depend on the samples that are drawn."""
    return Draws(value, value[:, None].expand(-1, REPLICATES, -1), torch.zeros(len(value), 2, 1).double(), samples)


def reading(
    *,
    of: type[Record],
    sources: tuple[str, ...],
    unit: str,
    name: str = "",
    higher_is_better: bool | None = None,
    beside: tuple[str, ...] = (),
) -> Callable[[Callable[..., Curve]], Metric]:
    """Register what is read off the curves of other metrics; a decorator.

    The function takes the curves of ``sources`` and returns a curve of one value without x. Without a ``name`` it has
    that of its file.
    """

    def register(function: Callable[..., Curve]) -> Metric:
        metric = Reading(
            sources=sources, read=function, doc=first_paragraph(function), unit=unit, of=of,
            higher_is_better=higher_is_better, beside=beside, summary=True,
        )  # fmt: skip
        return METRICS.register(metric, function.__module__, name)

    return register


def number(
    *,
    of: type[Record],
    unit: str,
    name: str = "",
    higher_is_better: bool | None = None,
    when: Callable[[Any], bool] | None = None,
    terms: Terms = NONE,
) -> Callable[[Callable[[Any], tuple[Tensor, Tensor]]], Metric]:
    """Register a number that is known; a decorator.

    The function takes a record and returns ``(how many, of how many)``, a scalar each, whole numbers.
    """

    def register(function: Callable[[Any], tuple[Tensor, Tensor]]) -> Metric:
        metric = Number(
            count=function, doc=first_paragraph(function), unit=unit, of=of, higher_is_better=higher_is_better,
            summary=True, when=when, terms=terms,
        )  # fmt: skip
        return METRICS.register(metric, function.__module__, name)

    return register
