"""What is left of a backdoor after training, which class the attacker would choose, and what was poisoned."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from tl_robust.metrics import METRICS
from tl_robust.results.names import MARKS, Names, grid, grouped, interval, number, unit
from tl_robust.results.table import Row
from tl_robust.sinks.report.blocks import Block, Table, Text
from tl_robust.sinks.report.part import Part
from tl_robust.types import Cell, Result, Stamped

HALF = 0.4  # poisoned share of label t from which on the poison is no minority there
MOST = 0.6  # and from which on it is a majority
COLUMNS = (  # heading, metric, at the first or the last epoch, with its interval
    ("implanted", "implanted", "last", False),
    ("lift after {first} epochs", "lift", "first", True),
    ("after {last}", "lift", "last", True),
    ("retention", "retention", "last", False),
    ("half-life", "half_life", "last", True),
    ("safe after", "safe_after", "last", True),
    ("B right", "victim_accuracy", "last", False),
    ("twin right", "twin_accuracy", "last", False),
)
POISON = (
    "backdoor",
    "into",
    "images asked for",
    "poisoned",
    "learned from",
    "share of all",
    "share of label t",
    "note",
)


@dataclass(frozen=True)
class Curves:
    """The rows of one line of a chart, of all metrics.

    Attributes:
        rows: Those of one strategy, backdoor and view.
    """

    rows: Sequence[Row]

    def at(self, metric: str, x: float) -> Row | None:
        """The number of a metric at a place of the axis; that of the whole curve where it has one alone."""
        return next((row for row in self.rows if row.metric == metric and row.eps in (None, x)), None)

    def text(self, metric: str, x: float, brief: bool = False) -> str:
        """The same as it reads, a dash where there is none; without its interval where it is ``brief``."""
        row = self.at(metric, x)
        if row is None:
            return "-"
        if unit(metric) == "epochs":
            return _epochs(row, x)
        percent = " %" * (unit(metric) == "share" and not math.isnan(row.value))
        return number(row.value, unit(metric)) + percent if brief else interval(row)

    @property
    def trust(self) -> str:
        """The worst trust in any of the numbers."""
        return max((row.trust for row in self.rows), key=list(MARKS).index)


def survival(part: Part) -> list[Block]:
    """For each pair, backdoor and view a row for each strategy: what was implanted, what is left, at which accuracy."""
    face, names, blocks = part.face, part.names, list[Block]()
    for (group, view), members in _groups(part.rows, names).items():
        xs = grid(row for row in members if row.metric == "lift")
        if not xs:
            continue
        lines = {name: Curves(rows) for name, rows in grouped(members, lambda row: names.strategy(row.cell)).items()}
        there = {row.metric for row in members}
        columns = [column for column in COLUMNS if column[1] in there]
        ends = {"first": xs[0], "last": xs[-1]}
        words = {end: face.axis_text(x) for end, x in ends.items()}
        head = ("strategy", *(title.format(**words) for title, *_ in columns), "trust")
        body = [
            (name, *(line.text(metric, ends[end], not full) for _, metric, end, full in columns), MARKS[line.trust])
            for name, line in lines.items()
        ]
        title = f"{group}, {face.side(view)}: what is left after {words['last']} epochs, and how right both are"
        blocks.append(Table(f"{title}, [95 % interval]", head, body, brief=True, cards=True))
    docs = {metric: METRICS[metric].doc for _, metric, *_ in COLUMNS if any(row.metric == metric for row in part.rows)}
    known = {*face.charts, *face.beside}  # explained elsewhere on the page
    meant = [Text(f"{metric}: {doc}") for metric, doc in docs.items() if metric not in known]
    return [Text("", "What is left"), *meant, *blocks] if blocks else []


def worst_classes(part: Part) -> list[Block]:
    """Where a backdoor was run for several classes t: the class with the most lift, and the mean over classes."""
    face, names = part.face, part.names
    rows = [row for row in part.rows if row.metric == "lift"]
    body = []
    for (group, view, strategy), members in grouped(
        rows, lambda row: (names.group(_of_any_class(row)), row.cell.view, names.strategy(row.cell))
    ).items():
        last = grid(members)[-1]
        ends = [row for row in members if row.eps == last and not math.isnan(row.value)]
        classes = {row.cell.attack: row for row in ends}
        if len(classes) > 1:
            worst = max(classes.values(), key=lambda row: row.value)
            mean = number(sum(row.value for row in classes.values()) / len(classes), "share")
            at = face.axis_text(last)
            body.append((f"{group}, {face.side(view)}", strategy, at, str(len(classes)), _target(worst.cell.attack),
                         interval(worst), f"{mean} %"))  # fmt: skip
    head = ("pair, backdoor", "strategy", face.axis, "classes", "worst class", "its lift", "mean over classes")
    title = "Lift over the classes that a backdoor calls for: the attacker chooses the worst one"
    return [Table(title, head, body, names=2, brief=True, cards=True)] if body else []


def poison(part: Part) -> list[Block]:
    """How many images each backdoor poisoned, of all that were learned from and of those that are labelled t."""
    results = [result for result in part.results if int(result.outcome.poison[1])]
    body = []
    groups = grouped(results, lambda result: (part.names.group(result.cell), result.cell.view))
    for (group, view), members in groups.items():
        for counts, same in grouped(members, _counts).items():
            asked, poisoned, learned, labelled = counts
            of_label = poisoned / max(labelled, 1)
            shares = (f"{number(share, 'share')} %" for share in (poisoned / max(learned, 1), of_label))
            where = "; ".join([group, *_apart(same, members)])
            body.append((where, view, *map(_thousands, (asked, poisoned, learned)), *shares, _note(of_label)))
    title = "Poison: images in place of clean ones, t is the class that the trigger calls for"
    return [Table(title, POISON, body, names=2, brief=True, cards=True)] if body else []


def _note(of_label: float) -> str:
    if of_label < HALF:
        return "-"
    part = "half" if of_label < MOST else "most"
    return f"{part} of label t is poisoned: scores that look for a minority cannot see it"


def _epochs(row: Row, last: float) -> str:
    """Epochs with their interval; what has not happened by the last epoch is beyond it."""

    def text(value: float) -> str:
        return f">{last:g}" if value >= last else number(value, "epochs")

    if row.metric == "safe_after":  # one of the epochs asked, without an interval
        return f">{last:g}" if math.isnan(row.value) else f"{row.value:g}"
    if math.isnan(row.value) or row.low >= last:
        return "n/a" if math.isnan(row.value) else text(row.value)
    return f"{text(row.value)} [{text(row.low)}, {text(row.high)}]"


def _counts(result: Result[Stamped]) -> tuple[int, ...]:
    return tuple(result.outcome.poison.tolist())


def _apart(some: Sequence[Result[Stamped]], every: Sequence[Result[Stamped]]) -> Iterator[str]:
    """What tells some cells from all of their group."""
    for name in ("strategy", "defense", "seed"):
        own, known = (dict.fromkeys(getattr(result.cell, name) for result in cells) for cells in (some, every))
        if len(own) < len(known):
            yield f"{name} {', '.join(map(str, own))}"


def _thousands(count: int) -> str:
    return f"{count:,}"


def _groups(rows: Sequence[Row], names: Names) -> Mapping[tuple[str, str], list[Row]]:
    return grouped(rows, lambda row: (names.group(row.cell), row.cell.view))


def _of_any_class(row: Row) -> Cell:
    """The cell without the class that its backdoor calls for."""
    name, _, settings = row.cell.attack.partition("(")
    others = [setting for setting in settings.removesuffix(")").split(", ") if not setting.startswith("target=")]
    return replace(row.cell, attack=f"{name}({', '.join(others)})" if any(others) else name)


def _target(attack: str) -> str:
    """The class that an attack names; the first class where it names none."""
    settings = attack.partition("(")[2].removesuffix(")").split(", ")
    named = [setting.removeprefix("target=") for setting in settings if setting.startswith("target=")]
    return named[0] if named else "the first"
