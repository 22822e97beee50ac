"""The charts of the report, made with Altair.

Altair is imported inside the functions: it takes half a second that most commands need not pay.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from tl_robust.results.names import Names, grid, grouped, interval, unit
from tl_robust.results.table import Row
from tl_robust.types import Face

if TYPE_CHECKING:
    import altair

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")  # Okabe and Ito, readable on both grounds
DASHES = ((1, 0), (7, 3), (2, 2), (9, 3, 2, 3), (4, 4))
SHAPES = (  # SVG paths within [-1,1], for Vega and for the page's own legend
    "M-1,0A1,1,0,1,1,1,0A1,1,0,1,1,-1,0Z",
    "M-0.9,-0.9L0.9,-0.9L0.9,0.9L-0.9,0.9Z",
    "M0,-1.1L1.1,0.9L-1.1,0.9Z",
    "M0,-1.3L1.1,0L0,1.3L-1.1,0Z",
    "M0,1.1L1.1,-0.9L-1.1,-0.9Z",
    "M-1.2,-0.4L-0.4,-0.4L-0.4,-1.2L0.4,-1.2L0.4,-0.4L1.2,-0.4L1.2,0.4L0.4,0.4L0.4,1.2L-0.4,1.2L-0.4,0.4L-1.2,0.4Z",
)


def points(rows: Sequence[Row], names: Names) -> list[dict[str, Any]]:
    """One record for each point of the lines."""
    return [
        {"x": row.eps, "strategy": names.strategy(row.cell)}
        | {name: _short(getattr(row, name)) for name in ("value", "low", "high")}
        for row in rows
    ]


def leading(face: Face) -> list[str]:
    """The metrics of the first charts: the headline, and what stands beside it with lines to compare it with."""
    return [face.headline, *(metric for metric in face.beside if metric in face.compared)]


def thin_title(face: Face, title: str, other: str) -> str:
    """The title of a chart with thin lines of another metric; without it the title alone."""
    return f"{title}; thin: {face.beside.get(other, other)}" if other else title


def packed(rows: Sequence[Row], names: Names, strategies: Sequence[str]) -> list[list[object]]:
    """The lines of a chart in few bytes, as the page's script reads them.

    Returns:
        For each line: place of its strategy, then lists of the same length: places on the axis, values, lower ends,
        upper ends, what a tooltip says; and the number of samples where it is the same everywhere, else their list.
    """
    places = {size: place for place, size in enumerate(grid(rows))}
    return [
        [
            strategies.index(strategy),
            [places[row.eps] for row in line if row.eps is not None],
            *([_short(getattr(row, name)) for row in line] for name in ("value", "low", "high")),
            [interval(row) for row in line],
            line[0].n if len({row.n for row in line}) == 1 else [row.n for row in line],
        ]
        for strategy, line in grouped(rows, lambda row: names.strategy(row.cell)).items()
    ]


def strips(face: Face, xs: Sequence[float]) -> list[dict[str, object]]:
    """The part of the x axis that belongs to each value: hovering there shows its numbers."""
    unit = _linear_below(xs)
    place = [math.log1p(x / unit) for x in xs]  # as the axis puts it
    middle = [unit * math.expm1((left + right) / 2) for left, right in pairwise(place)]
    ends = zip(xs, [0.0, *middle], [*middle, xs[-1]], strict=True)
    return [{"from": left, "to": right, "at": face.axis_text(x)} for x, left, right in ends]


def _short(value: float) -> float | None:
    return None if math.isnan(value) else float(f"{value:.4g}")


def _linear_below(xs: Iterable[float]) -> float:
    return min((x for x in xs if x > 0), default=1.0)


def limits(face: Face, metric: str, rows: Iterable[Row]) -> tuple[float, float]:
    """The ends of the y axis: 0 to 1 at least; a ratio may reach -0.5 and 2, beyond which points sit on the edge.

    A headline with a value of chance, from which it is hardly apart, has twentieths around chance and all intervals.
    """
    if metric == face.headline and face.chance is not None:
        found = [end for row in rows if row.metric == metric for end in (row.value, row.low, row.high)]
        ends = [face.chance - 0.01, face.chance + 0.1, *(end for end in found if not math.isnan(end))]
        return max(0.0, math.floor(20 * min(ends)) / 20), min(1.0, math.ceil(20 * max(ends)) / 20)
    if unit(metric) == "share":
        return 0.0, 1.0
    values = [row.value for row in rows if row.metric == metric and not math.isnan(row.value)]
    return max(-0.5, min([0.0, *values])), min(2.0, max([1.0, *values]))


def with_chance(face: Face) -> str:
    """The headline in one word, and what of it is chance."""
    return face.word + (f" ({100 * face.chance:g} % is chance)" if face.chance is not None else "")


def lines(
    face: Face,
    metric: str,
    xs: Sequence[float],
    strategies: Sequence[str],
    ends: tuple[float, float],
    values: list[dict[str, object]] | None = None,
    thin: bool | list[dict[str, object]] = False,
) -> altair.LayerChart:
    """Lines with bands and points, one color, dash and marker for each strategy.

    Args:
        face: How the threat reads.
        metric: Registered name.
        xs: Values of the axis, rising; it is linear below the smallest above 0 and logarithmic beyond.
        strategies: All labels of the page, in its order.
        ends: Ends of the y axis.
        values: Points; without them the chart reads the data sets ``points`` and ``hover``, and has tooltips.
        thin: Points of the lines of another metric; the chart reads the data set ``thin`` where it is true alone.
    """
    import altair as alt

    data = alt.NamedData(name="points") if values is None else alt.InlineData(values=values)
    labels = f"{json.dumps([face.axis_text(x) for x in xs])}[indexof({json.dumps(list(xs))}, datum.value)]"
    width = alt.Scale(type="symlog", constant=_linear_below(xs), domain=[0, max(xs) or 1.0], nice=False)
    ticks = alt.Axis(values=list(xs), labelExpr=labels, labelOverlap="greedy", labelSeparation=4, grid=False)
    x, start = (alt.X(f"{name}:Q", title=face.axis, scale=width, axis=ticks) for name in ("x", "from"))
    between = alt.Scale(domain=list(ends), nice=False, clamp=True)
    axis = alt.Axis(format="%" if unit(metric) == "share" else ".2~f", tickCount=5)
    chance = face.chance if metric == face.headline else None
    upwards = None if chance is None else with_chance(face)
    y, low = (alt.Y(f"{name}:Q", title=upwards, scale=between, axis=axis) for name in ("value", "low"))
    legend = alt.Legend(orient="top", title=None, symbolOpacity=1, labelLimit=400) if values is not None else None

    color, dash = styles(strategies, legend)
    shape = alt.Shape("strategy:N", legend=legend).scale(scale(strategies, SHAPES))
    base = alt.Chart(data)
    layers: list[alt.Chart] = [
        base.mark_area(opacity=0.16).encode(x=x, y=low, y2="high:Q", color=color),
        base.mark_line(strokeWidth=2).encode(x=x, y=y, color=color, strokeDash=dash),
        base.mark_point(filled=True, size=52, opacity=1).encode(x=x, y=y, color=color, shape=shape),
    ]
    if chance is not None:
        even = alt.Chart(alt.InlineData(values=[{"value": chance}]))
        layers.insert(0, even.mark_rule(color="currentColor", strokeDash=[3, 3], opacity=0.6, aria=False).encode(y=y))
    if thin:
        others = alt.NamedData(name="thin") if thin is True else alt.InlineData(values=thin)
        thin_line = alt.Chart(others).mark_line(strokeWidth=1.2, strokeDash=[3, 3])
        layers.append(thin_line.encode(x=x, y=y, color=color))
    if values is None:
        over = alt.selection_point(on="pointerover", clear="pointerout", empty=False)
        tips = [
            alt.Tooltip("at:N", title=face.axis),
            *(alt.Tooltip(f"s{i}:N", title=name) for i, name in enumerate(strategies)),
        ]
        strips = alt.Chart(alt.NamedData(name="hover")).mark_rect(fill="currentColor", aria=False)
        shade = alt.when(over).then(alt.value(0.1)).otherwise(alt.value(0))
        layers.append(strips.encode(x=start, x2="to:Q", opacity=shade, tooltip=tips).add_params(over))
    return alt.LayerChart(layer=layers)


def styles(strategies: Sequence[str], legend: altair.Legend | None = None) -> tuple[altair.Color, altair.StrokeDash]:
    """The color and the dash of each strategy."""
    import altair as alt

    color = alt.Color("strategy:N", legend=legend).scale(scale(strategies, COLORS))
    return color, alt.StrokeDash("strategy:N", legend=legend).scale(scale(strategies, DASHES))


def scale(strategies: Sequence[str], kinds: Sequence[Any]) -> altair.Scale:
    """One of some colors, dashes or shapes for each strategy."""
    import altair as alt

    return alt.Scale(domain=list(strategies), range=[kinds[i % len(kinds)] for i in range(len(strategies))])
