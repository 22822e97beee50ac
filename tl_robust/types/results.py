"""Cells of a grid, and what is known of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Generic

from torch import Tensor

from tl_robust.seeding import digest
from tl_robust.types.outcome import R, Verdict

View = str  # of a threat, such as white, black or shadow: whose model the attacker has


@dataclass(frozen=True)
class Curve:
    """A metric over eps, or what else stands on the axis of its threat, with its interval.

    Attributes:
        eps: ``[K]``, the ``x`` of the record, of evasion in [0,1] pixel units; empty for a metric that sums a whole
            curve up (then K is 1 below).
        value: ``[K]``; NaN where the metric is undefined.
        low: ``[K]``, lower end of the interval.
        high: ``[K]``, upper end.
        n: int64 ``[K]``, samples in the denominator.
    """

    eps: Tensor
    value: Tensor
    low: Tensor
    high: Tensor
    n: Tensor


@dataclass(frozen=True)
class Cell:
    """The coordinates of one point of the grid, as they stand in ``table.csv``.

    A coordinate that came later has a default and stands last: where it is at its default, the cell has the key that it
    had before.
    """

    bench: str
    source: str
    target: str
    network: str
    strategy: str
    common: str
    defense: str
    attack: str
    norm: str
    view: View
    seed: int
    target_images: int
    threat: str = "evasion"

    def coordinates(self) -> dict[str, str | int]:
        """Fields by name without those at their default: what keys are digests of."""
        defaults = {item.name: item.default for item in fields(self)}
        return {name: value for name, value in vars(self).items() if value != defaults[name]}

    def key(self, outcome: str, beside: Mapping[str, str]) -> str:
        """16 hex digits of the SHA-256 of coordinates and keys of records: the id of its W&B run and its file's name.

        Args:
            outcome: Key of its record.
            beside: Keys of the records beside it, by name.
        """
        others = {name: key for name, key in beside.items() if name != "white"}
        return digest([self.coordinates(), outcome, beside.get("white"), *[others] * bool(others)])[:16]

    def __str__(self) -> str:
        common = f" via {self.common}" if self.common else ""
        threat = f"{self.threat}, " if "threat" in self.coordinates() else ""
        return (
            f"{threat}{self.source} to {self.target} ({self.target_images} images), {self.strategy}{common}, "
            f"{self.attack} {self.norm}".rstrip()
            + f", {self.view}, seed {self.seed}"
        )


@dataclass(frozen=True)
class Result(Generic[R]):
    """Everything known of one cell; without a parameter, of evasion.

    Attributes:
        key: See :meth:`Cell.key`.
        cell: Coordinates.
        outcome: The record of every sample.
        beside: Other records of the same samples by name: ``white``, B attacked directly with the same attack;
            ``plain``, a defended B without the attacks that know its defense. What was not run is absent.
        curves: Metric name to curve.
        verdict: Trust.
        provenance: Keys of A, B and outcome, versions, device, commit, seconds.
        doubts: Trust in metrics that rest on another record, by name.
    """

    key: str
    cell: Cell
    outcome: R
    beside: Mapping[str, R]
    curves: Mapping[str, Curve]
    verdict: Verdict
    provenance: Mapping[str, Any] = field(default_factory=dict)
    doubts: Mapping[str, Verdict] = field(default_factory=dict)

    def trust(self, metric: str) -> Verdict:
        """Trust in a metric."""
        return self.doubts.get(metric, self.verdict)
