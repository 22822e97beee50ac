"""What the W&B dashboard of a bench shows, as plain values: no library, no network.

``wandb_dashboard`` makes a workspace of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tl_robust.sinks.wandb.runs import axis_key, side_key
from tl_robust.sinks.wandb.session import WandbSettings
from tl_robust.types import Face, View

COLUMNS = 4  # of the run table: values of the headline metric, spread over the axis
CLEAN = "clean_accuracy"  # of the victim, which every run has
CLAIMS, REPORT, CURVES = "overview/claims", "overview/report", "overview/curves"
LINEAGE = ("overview/lineage_matrix", "overview/lineage")  # picture and table
CARD = ("overview/card", "overview/defenses")  # page and table


def spec(
    bench: str,
    settings: WandbSettings,
    grid: Sequence[float],
    views: Sequence[View],
    several: bool,
    face: Face,
    crafted: bool = True,
    defended: bool = False,
) -> dict[str, Any]:
    """The dashboard of a bench.

    Args:
        bench: Its name; only its runs are shown.
        settings: Project and entity.
        grid: Values of the axis of all its attacks; none where they are found when it runs.
        views: Its views.
        several: It has several pairs, networks, attacks or numbers of target images: a line is then one of these with
            a strategy, else a strategy. A line is always the mean over seeds and nothing else.
        face: How its threat reads.
        crafted: Its examples are crafted on one model and judged on another, so that there is a matrix of models.
        defended: It has defenses, so that there is a defense card.

    Returns:
        JSON-able: ``name``, ``entity``, ``project``, ``axis``, ``runs`` (filter, group_by, columns) and ``sections`` of
        panels, each with its ``kind``: ``line``, ``bar``, ``scatter``, ``media`` or ``table``.
    """
    by = "curve" if several else "start"
    ends = [0.0, max(grid)] if grid else [None, None]

    def line(title: str, key: str, band: str, share: bool = True) -> dict[str, Any]:
        panel = {"kind": "line", "title": title, "x": face.axis, "y": key}
        panel |= {"group_by": by, "center": "mean", "band": band}
        return panel | {"range_x": ends, "range_y": [0, 1] if share else None}

    def bar(title: str, key: str) -> dict[str, Any]:
        return {"kind": "bar", "title": title, "key": key, "group_by": by, "center": "mean"}

    shown = {view: title for view, title in face.views.items() if view in views}
    bands = {"stddev": "mean and deviation over seeds", "minmax": "mean and range over seeds"}
    headline: list[dict[str, Any]] = []
    if face.ranked:  # of attacks with one place on the axis a line is a point
        headline += [bar(f"{title}, at the last {face.place or face.axis}", side_key(face, view))
                     for view, title in shown.items()]  # fmt: skip
        bands.popitem()
    headline += [
        line(f"{title}, {words}", side_key(face, view), band, face.chance is None)
        for band, words in bands.items()
        for view, title in shown.items()
    ]
    headline += [
        line(f"{words} ({metric})", f"{face.prefix}/{metric}", "stddev") for metric, words in face.beside.items()
    ]
    charts = (metric for metric in face.charts if metric not in face.beside)
    more = [line(metric, f"{face.prefix}/{metric}", "stddev", share=False) for metric in charts]
    whole = [bar(key, key) for key in (CLEAN, *face.whole)]
    for key in face.whole[:1]:
        title = f"{CLEAN} and {key}".replace("_", " ")
        whole.append({"kind": "scatter", "title": title, "x": CLEAN, "y": key})
    if face.told == "last":
        where, key = (face.at(max(grid)), _at(face, max(grid))) if grid else (f"the last {face.place}", face.headline)
        title = f"{CLEAN} and {face.headline} at {where}".replace("_", " ")
        whole.append({"kind": "scatter", "title": title, "x": CLEAN, "y": key})
    overview = [
        *(
            {"kind": "media", "title": key.partition("/")[2], "keys": [key]}
            for key in (CURVES, *LINEAGE[:1] * crafted, REPORT)
        ),
        *({"kind": "table", "title": key.partition("/")[2], "key": key} for key in (CLAIMS, *LINEAGE[1:] * crafted)),
    ]
    card: list[dict[str, Any]] = [
        {"kind": "media", "title": "defense card", "keys": [CARD[0]]},
        {"kind": "table", "title": "defense card as a table", "key": CARD[1]},
    ]
    first = {"Defense card": card} if defended else {}
    sections = {**first, face.title: headline, "Overview": overview, "Whole curves": whole}
    if any(view != face.direct for view in views):
        sections[face.charts_title] = more
    return {
        "name": f"{bench}: robustness",
        "entity": settings.entity,
        "project": settings.project,
        "axis": face.axis,
        "runs": {
            "filter": {"bench": bench},
            "group_by": ["pair", "network", "attack", "view", "start"] if several else ["view", "start"],
            "columns": _columns(face, grid),
        },
        "sections": [{"name": name, "open": True, "panels": panels} for name, panels in sections.items()],
    }


def _at(face: Face, x: float) -> str:
    return f"at/{axis_key(face, x)}/{face.headline}"


def _columns(face: Face, grid: Sequence[float]) -> list[str]:
    attacked = sorted({x for x in grid if x != face.baseline})
    last = len(attacked) - 1
    shown = [attacked[round(place * last / (COLUMNS - 1))] for place in range(COLUMNS)] if attacked else []
    values = [_at(face, x) for x in dict.fromkeys(shown)] or [face.headline] * (face.told == "last")
    config = [f"config:{name}" for name in ("pair", "attack", "view", "start", "seed")]
    return [*config, *(f"summary:{name}" for name in (CLEAN, *face.whole, *values, "trust", "trust_rank"))]


def keys(of: Mapping[str, Any]) -> set[str]:
    """All keys of runs that a dashboard reads, with ``config:`` or ``summary:`` where it is one of these."""
    runs = of["runs"]
    read_keys = {f"config:{name}" for name in (*runs["filter"], *runs["group_by"])} | set(runs["columns"])
    for panel in (panel for section in of["sections"] for panel in section["panels"]):
        if panel["kind"] == "line":
            read_keys |= {panel["x"], panel["y"], f"config:{panel['group_by']}"}
        elif panel["kind"] == "media":
            read_keys |= set(panel["keys"])
        elif panel["kind"] == "table":
            read_keys.add(panel["key"])
        else:
            read_keys |= {f"summary:{panel[name]}" for name in ("key", "x", "y") if name in panel}
    return read_keys
