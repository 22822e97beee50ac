"""Panels of Weights & Biases as plain values: what each threat, the overview, the card and trust show."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tl_robust.metrics import METRICS
from tl_robust.sinks.wandb.keys import axis_key, side_key
from tl_robust.types import Face, View

Panel = dict[str, Any]
CLEAN = "clean_accuracy"  # of the victim, which every run has
CURVES, REPORT, ANSWER = "overview/curves", "overview/report", "overview/answer"
LINEAGE = ("overview/lineage_matrix", "overview/lineage")  # picture and table
CARD = ("overview/card", "overview/defenses")  # page and table
CLAIMS, TRUST = "overview/claims", "overview/trust"
LEVELS = "trust_rank"  # of every run: 0 green, 1 amber, 2 red


@dataclass(frozen=True)
class Shown:
    """What is shown of one threat.

    Attributes:
        face: How it reads.
        grid: Values of the axis of all its attacks; none where they are found when it runs.
        views: Its views.
        several: There are several pairs, networks, attacks, defenses or numbers of target images: a line is then one of
            these with a strategy, else a strategy.
        crafted: Its examples are crafted on one model and judged on another, so that there is a matrix of models.
    """

    face: Face
    grid: Sequence[float]
    views: Sequence[View]
    several: bool
    crafted: bool = False

    @property
    def title(self) -> str:
        """Name and measure: ``Evasion: accuracy under attack``."""
        return f"{self.face.name}: {self.face.title[:1].lower()}{self.face.title[1:]}"

    def told_in(self, metric: str) -> list[View]:
        """The views that are here in which a metric means something; all where it is not known here."""
        known = METRICS[metric].views if metric in METRICS else ()
        return [view for view in dict.fromkeys(self.views) if not known or view in known]


@dataclass(frozen=True)
class Lines:
    """What stands for one line or bar: always the mean over seeds and nothing else.

    Attributes:
        own: Key of the configuration that tells the cells of one view of a threat apart.
        shared: The same where several views have the key that is shown.
        whole: The same where several threats have it.
    """

    own: str
    shared: str
    whole: str

    @classmethod
    def of(cls, part: Shown, benches: int, threats: int) -> Lines:
        """The narrowest keys that tell everything apart but the seed."""
        own = "line" if benches > 1 else "curve" if part.several else "start"
        shared = own if len(set(part.views)) == 1 else "line"
        return cls(own, shared, shared if threats == 1 else "line")

    def of_metric(self, part: Shown, metric: str) -> str:
        """What stands for a line of a metric that all views have under one key."""
        return self.own if len(part.told_in(metric)) == 1 else self.shared


def of_threat(part: Shown, lines: Lines) -> list[Panel]:
    """The headline of a threat in each view, what is told beside it, and what sums its curves up."""
    face, shown = part.face, {view: title for view, title in part.face.views.items() if view in part.views}
    bands = {"stddev": "mean and deviation over seeds", "minmax": "mean and range over seeds"}
    panels: list[Panel] = []
    if face.ranked:  # of attacks with one place on the axis a line is a point
        last = f"at the last {face.place or face.axis}"
        panels += [_bar(f"{title}, {last}", side_key(face, view), lines.own) for view, title in shown.items()]
        bands.popitem()
    panels += [
        _line(part, f"{title}, {words}", side_key(face, view), band, lines.own, share=face.chance is None)
        for band, words in bands.items()
        for view, title in shown.items()
    ]
    panels += [
        _line(part, f"{words} ({metric})", f"{face.prefix}/{metric}", "stddev", lines.of_metric(part, metric))
        for metric, words in face.beside.items()
        if part.told_in(metric)
    ]
    return panels


def of_wholes(part: Shown, lines: Lines) -> list[Panel]:
    """Bars of what sums the curves of a threat up, and each beside clean accuracy."""
    face = part.face
    wholes = [key for key in face.whole if part.told_in(key)]
    panels = [_bar(key, key, lines.of_metric(part, key)) for key in wholes]
    panels += [_scatter(key, key) for key in wholes[:1]]
    if face.told == "last":
        grid = part.grid
        where, key = (
            (face.at(max(grid)), at_key(face, max(grid))) if grid else (f"the last {face.place}", face.headline)
        )
        panels.append(_scatter(f"{face.headline} at {where}", key))
    return panels


def of_charts(part: Shown, lines: Lines) -> list[Panel]:
    """What is charted after the headline, where an attacker has something else than the victim itself."""
    face = part.face
    if all(view == face.direct for view in part.views):
        return []
    metrics = [metric for metric in face.charts if metric not in face.beside and part.told_in(metric)]
    return [
        _line(part, name, f"{face.prefix}/{name}", "stddev", lines.of_metric(part, name), share=False)
        for name in metrics
    ]


def of_overview(crafted: bool, clean: str) -> list[Panel]:
    """What the overview run of each bench has: its answer, claims, curves, report, and clean accuracy of all runs."""
    return [
        _table("the answer in words", ANSWER),
        *_media(CURVES, *LINEAGE[:1] * crafted),
        _table("claims", CLAIMS),
        *_media(REPORT),
        *([_table("lineage", LINEAGE[1])] if crafted else []),
        _bar(CLEAN, CLEAN, clean),
    ]


def of_card() -> list[Panel]:
    """The defense card, as a page and as a table."""
    return [{"kind": "media", "title": "defense card", "keys": [CARD[0]]}, _table("defense card as a table", CARD[1])]


def of_trust() -> list[Panel]:
    """How far numbers are to be believed: the reasons, and the mean rank of each line."""
    return [_table("why cells are not green", TRUST), _bar("trust rank: 0 green, 1 amber, 2 red", LEVELS, "line")]


def at_key(face: Face, x: float) -> str:
    """Key of the headline at one place of the axis, in the summary of every run that has it."""
    return f"at/{axis_key(face, x)}/{face.headline}"


def keys_of(panels: Iterable[Mapping[str, Any]]) -> set[str]:
    """All keys of runs that panels read, with ``config:`` or ``summary:`` where it is one of these."""
    keys = set[str]()
    for panel in panels:
        if panel["kind"] == "line":
            keys |= {panel["x"], panel["y"], f"config:{panel['group_by']}"}
        elif panel["kind"] == "media":
            keys |= set(panel["keys"])
        elif panel["kind"] == "table":
            keys.add(panel["key"])
        else:
            keys |= {f"summary:{panel[name]}" for name in ("key", "x", "y") if name in panel}
            keys |= {f"config:{panel['group_by']}"} if "group_by" in panel else set()
    return keys


def _line(part: Shown, title: str, key: str, band: str, by: str, share: bool = True) -> Panel:
    ends = [0.0, max(part.grid)] if part.grid else [None, None]
    panel = {"kind": "line", "title": title, "x": part.face.axis, "y": key, "group_by": by, "center": "mean"}
    return panel | {"band": band, "range_x": ends, "range_y": [0, 1] if share else None}


def _bar(title: str, key: str, by: str) -> Panel:
    return {"kind": "bar", "title": title, "key": key, "group_by": by, "center": "mean"}


def _scatter(words: str, key: str) -> Panel:
    return {"kind": "scatter", "title": f"{CLEAN} and {words}".replace("_", " "), "x": CLEAN, "y": key}


def _media(*keys: str) -> list[Panel]:
    return [{"kind": "media", "title": key.partition("/")[2], "keys": [key]} for key in keys]


def _table(title: str, key: str) -> Panel:
    return {"kind": "table", "title": title, "key": key}
