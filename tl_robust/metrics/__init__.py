"""Metrics: pure functions of outcomes. ``metrics.get("robust_accuracy")(outcome)`` gives one value per eps."""

from tl_robust.metrics.base import METRICS, Metric, Rates, rate, statistic


def get(name: str) -> Metric:
    """The metric of a name."""
    return METRICS[name]


def names() -> list[str]:
    """All metrics."""
    return METRICS.names()


__all__ = ["METRICS", "Metric", "Rates", "get", "names", "rate", "statistic"]
