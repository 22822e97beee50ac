"""What is known of a number by its name: the registered metrics, and what only an audit measures.

Policies, findings and files of an audit ask here, so that a number has one unit and one direction everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from tl_robust.errors import UnknownNameError
from tl_robust.metrics import METRICS
from tl_robust.types import Outcome
from tl_robust.types.terms import TRANSFER, Terms

PRICE = "parent_price"  # what the public parent costs
INDEX, RATIO, STAMPED, ALARM = "anomaly_index", "mask_ratio", "looks_stamped", "alarm_p_value"
Better = Literal["higher", "lower", ""]
Sized = Literal["always", "perhaps", "never"]


@dataclass(frozen=True)
class Number:
    """Facts about a number.

    Attributes:
        title: What it says, as a noun.
        unit: As of a finding.
        better: What is better for the owner of the model; empty where neither is.
        bounds: The least and the largest that it can be.
        sized: Whether it depends on the size of a perturbation (eps), or may be told without it.
        terms: What others call it, by who does.
    """

    title: str
    unit: str
    better: Better
    bounds: tuple[float, float]
    sized: Sized = "never"
    terms: Terms = field(default_factory=dict)


ONLY_IN_AUDITS: Mapping[str, Number] = {
    PRICE: Number("Price of the public parent", "share", "lower", (-1, 1), "perhaps", TRANSFER),
    INDEX: Number("Anomaly index of the smallest mask", "ratio", "lower", (0, math.inf)),
    RATIO: Number("Median mask over the smallest one", "ratio", "lower", (1, math.inf)),
    STAMPED: Number("Training images that look stamped", "share", "lower", (0, 1)),
    ALARM: Number("False alarms at what the model shows", "share", "higher", (0, 1)),
}


def known(name: str) -> Number:
    """Facts about a registered metric or a number that only audits know.

    Raises:
        UnknownNameError: No such name; the message shows the closest.
    """
    if name in ONLY_IN_AUDITS:
        return ONLY_IN_AUDITS[name]
    if name not in METRICS:
        raise UnknownNameError("metric", name, names())
    metric = METRICS[name]
    better: Better = "" if metric.higher_is_better is None else "higher" if metric.higher_is_better else "lower"
    alone = metric.summary or not issubclass(metric.of, Outcome)
    title = name.replace("_", " ").capitalize()
    return Number(title, metric.unit, better, metric.bounds, "never" if alone else "always", metric.terms)


def names() -> list[str]:
    """All names, sorted."""
    return sorted([*METRICS.names(), *ONLY_IN_AUDITS])
