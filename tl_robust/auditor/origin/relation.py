"""How a model and a candidate are related, by one kind of evidence.

Axes: U units (filters of all layers, or features).
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Relation:
    """What a model has in common with a candidate.

    Attributes:
        score: How close it is; larger is closer, 0 is what chance gives, 1 the same.
        z: Standard normal where the two were trained apart.
        alike: Cosine of each unit with that at its place, ``[U]``.
    """

    score: float
    z: float
    alike: Tensor


@dataclass(frozen=True)
class Found:
    """A candidate as a sentence names it.

    Attributes:
        name: Of the model.
        score: As of a relation.
        p: p-value, corrected for all candidates.
    """

    name: str
    score: float
    p: float
