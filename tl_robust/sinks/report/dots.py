"""A chart for a threat whose attacks have one place on the axis: a point with its interval for each attack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tl_robust.results.names import Names, grid, grouped, interval, method
from tl_robust.results.table import Row
from tl_robust.sinks.report.blocks import Drawing
from tl_robust.sinks.report.charts import SHAPES, limits, scale, styles, with_chance
from tl_robust.types import Face

if TYPE_CHECKING:
    import altair

ROW = 13  # pixels of one point
LOWEST = 220  # pixels of the lowest chart: the page has room for it


def at_one_place(face: Face, rows: Sequence[Row]) -> dict[tuple[str, str], list[Row]]:
    """The headlines of attacks that have one place on the axis, the strongest first, by pair and view.

    Nothing where the threat does not rank its attacks.
    """
    if not face.ranked:
        return {}
    headlines = [row for row in rows if row.metric == face.headline and row.eps is not None]
    curves = grouped(headlines, lambda row: (row.cell.source, row.cell.target, row.cell.view, row.cell.attack))
    alone = [row for members in curves.values() if len(grid(members)) == 1 for row in members]
    alone.sort(key=lambda row: -row.value if row.value == row.value else 1.0)
    return grouped(alone, lambda row: (Names.of(one.cell for one in rows).pair(row.cell), row.cell.view))


def drawing(face: Face, place: tuple[str, str], rows: Sequence[Row], names: Names) -> Drawing:
    """The chart of one pair and view as the page draws it."""
    title = f"{place[0]}, {face.side(place[1])}, {face.at(rows[0].eps or 0.0)}"
    label = f"{title}: {face.headline} of every attack; the table below has its values"
    lines = [
        (strategy, [[method(row.cell) for row in members],
                    *([getattr(row, name) for row in members] for name in ("value", "low", "high"))])
        for strategy, members in grouped(rows, lambda row: names.strategy(row.cell)).items()
    ]  # fmt: skip
    return Drawing(title, label, lines, lambda strategies: dots(face, rows, strategies, names).to_dict())


def dots(
    face: Face, rows: Sequence[Row], strategies: Sequence[str], names: Names, inline: bool = False
) -> altair.LayerChart:
    """A row for each attack with a point for each strategy.

    Args:
        face: How the threat reads.
        rows: The headline at one place of the axis, in the order of the chart.
        strategies: All labels of the page, in its order.
        names: How cells are named.
        inline: Whether the chart has its values; else it reads the data set ``points``.
    """
    import altair as alt

    attacks = list(dict.fromkeys(method(row.cell) for row in rows))
    there = [each for each in strategies if each in {names.strategy(row.cell) for row in rows}]
    values = [_point(row, names) for row in rows]
    base = alt.Chart(alt.InlineData(values=values) if inline else alt.NamedData(name="points"))
    ends = alt.Scale(domain=list(limits(face, face.headline, rows)), nice=False, clamp=True)
    axis = alt.Axis(format="%", tickCount=6)
    x, low = (alt.X(f"{name}:Q", title=with_chance(face), scale=ends, axis=axis) for name in ("value", "low"))
    y = alt.Y("x:N", title=None, sort=attacks, axis=alt.Axis(labelLimit=260, ticks=False, domain=False))
    beside = alt.YOffset("strategy:N", sort=there).scale(alt.Scale(domain=there, paddingInner=0.2, paddingOuter=0.8))
    legend = alt.Legend(orient="top", title=None, symbolOpacity=1, labelLimit=400) if inline else None
    color, _ = styles(strategies, legend)
    shape = alt.Shape("strategy:N", legend=legend).scale(scale(strategies, SHAPES))
    layers: list[alt.Chart] = []
    if face.chance is not None:
        even = alt.Chart(alt.InlineData(values=[{"value": face.chance}]))
        layers.append(even.mark_rule(color="currentColor", strokeDash=[3, 3], opacity=0.6, aria=False).encode(x=x))
    tips = [alt.Tooltip("strategy:N"), alt.Tooltip("x:N", title="attack")]
    tips += [alt.Tooltip(f"{name}:Q", title=title, format=".1~%")
             for name, title in (("value", face.word), ("low", "from"), ("high", "to"))]  # fmt: skip
    layers += [
        base.mark_rule(strokeWidth=2, opacity=0.7).encode(x=low, x2="high:Q", y=y, yOffset=beside, color=color),
        base.mark_point(filled=True, size=60, opacity=1).encode(
            x=x, y=y, yOffset=beside, color=color, shape=shape, tooltip=tips
        ),
    ]
    height = max(LOWEST, ROW * len(attacks) * (len(there) + 1))
    return alt.LayerChart(layer=layers, height=height)


def _point(row: Row, names: Names) -> Mapping[str, Any]:
    ends = {name: getattr(row, name) for name in ("value", "low", "high")}
    return {"x": method(row.cell), "strategy": names.strategy(row.cell), "said": interval(row), **ends}
