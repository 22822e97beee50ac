"""How the results of a threat read: titles, axis and words, so that no view has to know any threat."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from tl_robust.types.terms import Terms


@dataclass(frozen=True)
class Face:
    """What tables, report, answer and Weights & Biases show of a threat. All that is not given is left out.

    Attributes:
        threat: Its registered name, as ``table.csv`` has it.
        title: What its main chart shows.
        axis: What its curves run over, in one word; the key of that axis in Weights & Biases.
        axis_text: How a value of the axis reads.
        place: What stands before a value of the axis; the word of the axis where empty.
        told: Where on the axis the answer is told: ``apart``, where the strategies differ most, or ``last``.
        ranked: The attack that tells most, and not the first, answers for each view, and where the axis has one place
            all attacks stand in one table.
        baseline: The value of the axis at which nothing was attacked; None where there is no such value.
        untouched: Heading of the column with the baseline.
        headline: The metric that answers first.
        chance: The headline of an attacker who knows nothing; charts begin below it, where there is such a value.
        beside: Metrics that are told wherever the headline is, since it says nothing without them, and how each is
            called there.
        accuracy: The metric of the victim's accuracy on clean images.
        measure: What the headline metric measures, and of which model.
        word: The same in one word, as the charts of a figure and the keys in Weights & Biases have it.
        views: Heading of each view, that of the attacker who has the public model A first; before a colon
            stands its short name.
        direct: The view in which the attacker has the victim itself.
        claims: The claims that are named beside the answer, by view.
        whole: Metrics that sum a whole curve up, the most telling first, for dashboards.
        charts: Metrics that are charted after the headline.
        charts_title: Title of their charts.
        compared: The metric that is drawn in thin lines into the chart of another, by the name of that one, which has
            no chart without it.
        notes: What a reader must know of a metric beyond the sentence that describes it.
        about: A paragraph that explains the words of the answer.
        samples: What the samples of a record are.
        units: What an interval over several trainings is about: ``seeds``, or ``pairs`` of models within one seed.
        prefix: What stands before the names of metrics in Weights & Biases.
        terms: What others call the threat, by who does (``NIST AI 100-2``).
        terms_of_view: What a view adds to that.
    """

    threat: str
    title: str
    axis: str = "x"
    axis_text: Callable[[float], str] = "{:.4g}".format
    place: str = ""
    told: Literal["apart", "last"] = "apart"
    ranked: bool = False
    baseline: float | None = None
    untouched: str = "baseline"
    headline: str = ""
    chance: float | None = None
    beside: Mapping[str, str] = field(default_factory=dict)
    accuracy: str = ""
    measure: str = ""
    word: str = "value"
    views: Mapping[str, str] = field(default_factory=dict)
    direct: str = ""
    claims: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    whole: tuple[str, ...] = ()
    charts: tuple[str, ...] = ()
    charts_title: str = ""
    compared: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)
    about: str = ""
    samples: str = "test images"
    units: Literal["seeds", "pairs"] = "seeds"
    prefix: str = "metric"
    terms: Terms = field(default_factory=dict)
    terms_of_view: Mapping[str, Terms] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The threat as a title names it: ``Evasion``."""
        return self.threat.capitalize()

    def side(self, view: str) -> str:
        """The short name of a view: ``black box``."""
        return self.views.get(view, view).partition(":")[0].lower()

    def at(self, x: float) -> str:
        """A place on the axis: ``eps 8/255``."""
        return f"{self.place or self.axis} {self.axis_text(x)}"
