"""The columns of a defense card: what each shows, where it is read, and what tells better from worse.

A new column is one more entry of :data:`COLUMNS`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

At = Literal["eps", "baseline", "last"]


@dataclass(frozen=True)
class Column:
    """One column of numbers.

    Attributes:
        name: As the JSON file has it.
        title: As the table has it.
        means: What a number says, in whole sentences; it is printed under the table.
        unit: ``share``, or ``ratio`` to the undefended model.
        threat: Whose cells it is read from; empty where every cell knows it.
        views: Views it is read in; the first that was run.
        metric: Registered name; of several attacks the one with which it is worst for the defender.
        at: Where on the axis of the threat: at the eps of the card, with nothing attacked, or after the last epoch.
        better: Which change helps; empty where a change is not judged.
        own: It says nothing of undefended models.
        telling: Name of a metric of the same cells, and its least value without a defense: below it there is nothing
            to defend against, and no defense is judged.
        provenance: Where the number stands in a cell's provenance, in place of a metric.
        divided: The number in the provenance is yet to be divided by that of the undefended model.
    """

    name: str
    title: str
    means: str
    unit: Literal["share", "ratio"] = "share"
    threat: str = "evasion"
    views: tuple[str, ...] = ("white", "black", "shadow")
    metric: str = ""
    at: At = "eps"
    better: Literal["higher", "lower", ""] = ""
    own: bool = False
    telling: tuple[str, float] | None = None
    provenance: str = ""
    divided: bool = True


COLUMNS = (
    Column(
        "clean", "clean accuracy", "Share of clean test images that B gets right; one that is refused is not.",
        metric="withstood", at="baseline", better="higher",
    ),
    Column(
        "white", "white box",
        "Share of test images that B gets right, or refuses, under the worst of the plain attack and of every attack "
        "that knows the defense, image by image; the attacker has B itself.",
        views=("white",), metric="withstood", better="higher",
    ),
    Column(
        "black", "black box from A", "The same, where the attacker has the public model A alone.",
        views=("black",), metric="withstood", better="higher",
    ),
    Column(
        "shadow", "black box from a shadow",
        "The same, where the attacker repeats strategy and defense from A with a seed of his own, and crafts on that. "
        "He learns from the target's own training images: the strongest attacker who has not B.",
        views=("shadow",), metric="withstood", better="higher",
    ),
    Column(
        "backdoor", "backdoor survival",
        "Lift after the last epoch: share of stamped images of other classes that B sends to the attacker's class, "
        "less that of the same B made without poison.",
        threat="backdoor", views=("source", "target", "common"), metric="lift", at="last", better="lower",
        telling=("lift", 0.8),
    ),
    Column(
        "membership", "members found at 1 %",
        "Share of B's training images that are called members where 1 % of others are called so by mistake, after "
        "the last epoch; 1 % is chance.",
        threat="membership", views=("target",), metric="tpr_at_1_percent", at="last", better="lower",
        telling=("auc", 0.6),
    ),
    Column(
        "training", "training cost",
        "Computing time of B and of all that is trained and fitted for it beside the public A, over that of the "
        "undefended B.",
        unit="ratio", threat="", views=(), provenance="victim_busy_seconds",
    ),
    Column(
        "inference", "inference cost",
        "Time of B for a batch of test images over that of the undefended B: median of five interleaved rounds.",
        unit="ratio", threat="", views=(), provenance="inference_ratio",
        divided=False,
    ),
    Column(
        "refused", "refused clean images", "Share of clean test images that B refuses.",
        metric="refused", at="baseline", own=True,
    ),
    Column(
        "gap", "adaptive gap",
        "White box: what the plain attack leaves right more than the worst of all attacks does. A large gap says that "
        "the plain attack is no test of this defense.",
        views=("white",), metric="adaptive_gap", own=True,
    ),
)  # fmt: skip
