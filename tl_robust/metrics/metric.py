"""What every metric has: facts for readers, a value per x, an interval, and the draws behind it.

How a value comes about is up to the kinds of metrics: :mod:`tl_robust.metrics.base` has those that are functions of
mean values of samples, :mod:`tl_robust.metrics.readings` those that are read off other metrics or are plain counts.

Axes: K values of x (eps, epochs), S seeds.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from tl_robust.metrics.estimate import Draws
from tl_robust.registry import Registry
from tl_robust.types import Curve, Outcome, Record, View
from tl_robust.types.terms import Terms

Beside = Mapping[str, Record] | Record | None  # a record alone is the one that the metric asks for
Seed = tuple[Record, Beside]


@dataclass(frozen=True, kw_only=True)
class Metric(ABC):
    """A registered metric.

    Attributes:
        doc: First paragraph of the author's docstring.
        unit: ``share``, ``ratio``, ``eps``, ``epochs``, ``images``.
        of: The class of records that it reads.
        views: Views it means something in; all where there are none.
        higher_is_better: For the victim's owner; None where neither is.
        beside: Names of the records that it needs beside its own, such as ``white``: B attacked directly.
        summary: One value for a whole curve instead of one per x.
        when: Whether it means something of a record, such as one that a filter has scored training images for; None:
            of every record.
        alone: Where a record beside is missing it is undefined (NaN) instead of absent: for a metric that leads.
        exact: The value is a binomial share: the interval is Clopper and Pearson's.
        signed: A share that may fall below 0, down to -1, as the difference of two.
        terms: What others call what it measures, beyond the words of its threat.
    """

    doc: str
    unit: str
    of: type[Record] = Outcome
    views: tuple[View, ...] = ()
    higher_is_better: bool | None = None
    beside: tuple[str, ...] = ()
    summary: bool = False
    when: Callable[[Any], bool] | None = None
    alone: bool = False
    exact: bool = False
    signed: bool = False
    terms: Terms = field(default_factory=dict)

    def applies(self, record: Record, view: View, beside: Mapping[str, Record]) -> bool:
        """Whether it reads such records, means something of this one in this view, and has what it needs beside."""
        return (
            isinstance(record, self.of)
            and (not self.views or view in self.views)
            and (self.alone or all(name in beside for name in self.beside))
            and (self.when is None or self.when(record))
        )

    @property
    def bounds(self) -> tuple[float, float]:
        """Ends of what a share can be; infinite of other units."""
        least, most = (-1.0 if self.signed else 0.0, 1.0) if self.unit == "share" else (-torch.inf, torch.inf)
        return least, most

    @abstractmethod
    def __call__(self, record: Record, beside: Beside = None) -> Tensor:
        """The value per x.

        Args:
            record: What happened.
            beside: Other records of the same samples and x by name, only for metrics that need some; where it needs
                one, it may stand alone: ``metric(black, white)``.

        Returns:
            float64 ``[K]``, or ``[1]`` for a summary; NaN where the metric is undefined.
        """

    def curve(self, record: Record, beside: Beside = None) -> Curve:
        """The values with a 95 % interval over samples."""
        return self.mean_curve([(record, beside)])

    @abstractmethod
    def mean_curve(self, seeds: Sequence[Seed]) -> Curve:
        """The mean over seeds, with a 95 % interval over seeds and samples.

        With one seed the interval speaks of samples only. Undefined values are left out of a mean.

        Args:
            seeds: One record and what is beside it per seed, on the same samples and x.
        """

    @abstractmethod
    def draws(self, seeds: Sequence[Seed]) -> Draws:
        """The values at every seed, as measured and with the samples drawn again.

        Args:
            seeds: One record and what is beside it per seed, on the same samples and x.
        """

    def others(self, record: Record, beside: Beside) -> dict[str, Record]:
        """The records that it needs beside a record, by name; none where one is missing and it stands alone.

        Raises:
            ValueError: It reads other records, or lacks one beside.
        """
        if not isinstance(record, self.of):
            raise ValueError(f"this metric reads {self.of.__name__}, got {type(record).__name__}")
        if isinstance(beside, Record):
            beside = dict.fromkeys(self.beside[:1], beside)
        found = {name: other for name in self.beside if (other := (beside or {}).get(name))}
        missing = [name for name in self.beside if name not in found]
        if missing and not self.alone:
            raise ValueError(
                f"this metric needs another record of the same samples: metric(record, {{{missing[0]!r}: other}})"
            )
        return {} if missing else found


METRICS: Registry[Metric] = Registry("metric", "tl_robust.metrics.named")


def curves(record: Record, view: View, beside: Mapping[str, Record]) -> dict[str, Curve]:
    """All metrics that mean something of a record, by name."""
    metrics = {name: METRICS[name] for name in METRICS.names()}
    return {
        name: metric.curve(record, beside) for name, metric in metrics.items() if metric.applies(record, view, beside)
    }


def first_paragraph(function: Callable[..., object]) -> str:
    """What an author says of a metric before the first empty line of the docstring, in one line."""
    return (function.__doc__ or "").strip().split("\n\n")[0].replace("\n", " ")
