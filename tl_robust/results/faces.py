"""How the results of a threat read: titles, axis and words, so that no view has to know any threat."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from tl_robust.text import eps_text
from tl_robust.types import Cell


@dataclass(frozen=True)
class Face:
    """What tables, report, answer and Weights & Biases show of a threat. All that is not given is left out.

    Attributes:
        threat: Its registered name, as ``table.csv`` has it.
        title: What its main chart shows.
        axis: What its curves run over, in one word; the key of that axis in Weights & Biases.
        axis_text: How a value of the axis reads.
        baseline: The value of the axis at which nothing was attacked; None where there is no such value.
        untouched: Heading of the column with the baseline.
        headline: The metric that answers first.
        measure: What the headline metric measures, and of which model.
        word: The same in one word, as the charts of a figure and the keys in Weights & Biases have it.
        views: Heading of each view, that of the attacker who has the public model A first; before a colon
            stands its short name.
        direct: The view in which the attacker has the victim itself.
        claims: The claims that are named beside the answer, by view.
        whole: Metrics that sum a whole curve up, the most telling first, for dashboards.
        charts: Metrics that are charted after the headline.
        charts_title: Title of their charts.
        notes: What a reader must know of a metric beyond the sentence that describes it.
        about: A paragraph that explains the words of the answer.
        prefix: What stands before the names of metrics in Weights & Biases.
        terms: What others call the threat, by who does (``NIST AI 100-2``).
    """

    threat: str
    title: str
    axis: str = "x"
    axis_text: Callable[[float], str] = "{:.4g}".format
    baseline: float | None = None
    untouched: str = "baseline"
    headline: str = ""
    measure: str = ""
    word: str = "value"
    views: Mapping[str, str] = field(default_factory=dict)
    direct: str = ""
    claims: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    whole: tuple[str, ...] = ()
    charts: tuple[str, ...] = ()
    charts_title: str = ""
    notes: Mapping[str, str] = field(default_factory=dict)
    about: str = ""
    prefix: str = "metric"
    terms: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The threat as a title names it: ``Evasion``."""
        return self.threat.capitalize()

    def side(self, view: str) -> str:
        """The short name of a view: ``black box``."""
        return self.views.get(view, view).partition(":")[0].lower()

    def at(self, x: float) -> str:
        """A place on the axis: ``eps 8/255``."""
        return f"{self.axis} {self.axis_text(x)}"


EVASION = Face(
    threat="evasion",
    title="Accuracy under attack",
    axis="eps",
    axis_text=eps_text,
    baseline=0.0,
    untouched="no attack",
    headline="robust_accuracy",
    measure="Accuracy of the victim",
    word="accuracy",
    views={
        "black": "Black box: crafted on the source model",
        "white": "White box: crafted on the victim itself",
        "shadow": "Shadow: crafted on a model that the attacker made as the victim was made",
    },
    direct="white",
    claims={"black": ("H2", "H13"), "white": ("H1",)},
    whole=("curve_area", "half_eps"),
    charts=("transfer_ratio", "surrogate_ratio", "match_rate"),
    charts_title="Transferability",
    notes={
        "transfer_ratio": "The paper's own formula could not be read: this reading of it is unconfirmed. "
        "No point is drawn where a ratio is undefined (n/a in the table), and points beyond an axis sit on its edge.",
        "half_eps": "Where a curve never falls that far it is the largest eps of the grid: read it as at least. "
        "In [0,1] pixel units: 0.0314 is 8/255.",
    },
    about="A is the public source model, B the victim made for the target. White box: the attacker has B itself. "
    "Black box: the attacker has A alone, and what was crafted on A is tried on B. Eps: how much an image is changed. "
    "Effects of claims are means over eps.",
    prefix="robust",
    terms={"NIST AI 100-2": "evasion", "MITRE ATLAS": "AML.T0015, AML.T0043"},
)
FACES: Mapping[str, Face] = {EVASION.threat: EVASION}


class Placed(Protocol):
    """What belongs to a cell: a row, a result."""

    @property
    def cell(self) -> Cell:
        """The coordinates."""


P = TypeVar("P", bound=Placed)


def face_of(cell: Cell, faces: Mapping[str, Face] = FACES) -> Face:
    """The face of a cell's threat; of a threat that is not known here, one that has its name and nothing more."""
    return faces.get(cell.threat) or Face(cell.threat, cell.threat)


def by_threat(items: Iterable[P], faces: Mapping[str, Face] = FACES) -> list[tuple[Face, list[P]]]:
    """Rows or results with the face of their threat, a list for each threat in order of appearance."""
    groups: dict[str, tuple[Face, list[P]]] = {}
    for item in items:
        groups.setdefault(item.cell.threat, (face_of(item.cell, faces), []))[1].append(item)
    return list(groups.values())
