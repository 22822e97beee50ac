"""Metrics: pure functions of records. ``metrics.get("robust_accuracy")(outcome)`` gives one value per eps."""

from tl_robust.metrics.base import Accuracies, Rates, difference, rate, statistic
from tl_robust.metrics.metric import METRICS, Metric, curves
from tl_robust.metrics.pairs import over_pairs
from tl_robust.metrics.pooled import pooled_rate
from tl_robust.metrics.ranking import auroc
from tl_robust.metrics.readings import number, reading
from tl_robust.types import Record


def get(name: str) -> Metric:
    """The metric of a name."""
    return METRICS[name]


def names(of: type[Record] = Record) -> list[str]:
    """The metrics that read records of this class; all where none is named."""
    return [name for name in METRICS.names() if issubclass(METRICS[name].of, of)]


__all__ = [
    "METRICS",
    "Accuracies",
    "Metric",
    "Rates",
    "auroc",
    "curves",
    "difference",
    "get",
    "names",
    "number",
    "over_pairs",
    "pooled_rate",
    "rate",
    "reading",
    "statistic",
]
