"""Metrics: pure functions of records. ``metrics.get("robust_accuracy")(outcome)`` gives one value per eps."""

from tl_robust.metrics.base import METRICS, Accuracies, Metric, Rates, curves, rate, statistic


def get(name: str) -> Metric:
    """The metric of a name."""
    return METRICS[name]


def names() -> list[str]:
    """All metrics."""
    return METRICS.names()


__all__ = ["METRICS", "Accuracies", "Metric", "Rates", "curves", "get", "names", "rate", "statistic"]
