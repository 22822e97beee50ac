"""ROC curves of membership inferences on logarithmic axes, where an attacker is who may not be wrong.

Axes: K epochs, M models, P pairs, N samples, F false positive rates, R bootstrap replicates.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from tl_robust.metrics.estimate import TAIL, resamples
from tl_robust.metrics.pairs import by_role
from tl_robust.results.names import grouped
from tl_robust.sinks.report.blocks import Block, Drawing, Drawings, Text
from tl_robust.sinks.report.charts import styles
from tl_robust.sinks.report.part import Part
from tl_robust.types import Exposure, Result

ENOUGH = 10  # non-members called by mistake, below which a rate is not told
PLACES = 13  # false positive rates that are drawn
REPLICATES = 200
MOST = 12  # charts, those of the strongest inferences, so that the page stays small
NOTE = (
    "How many members are called where so many non-members are called by mistake, both on logarithmic axes, after the "
    "last epoch. The dashed line is chance. Bands are 95 % intervals over pairs of models "
    "and samples. Curves begin where ten non-members are called by mistake: in the gray there are too few."
)


def roc(score: Tensor, member: Tensor, fpr: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """True positive rates with the ends of their bands, float64 ``[F]`` each; NaN where a score is NaN.

    The threshold is one for all pairs, ties with it are not called, and the bands draw pairs and samples again (the
    pigeonhole bootstrap: Owen, Annals of Applied Statistics 2007).

    Args:
        score: float64 ``[M,N]``.
        member: Bool ``[M,N]``; models 2i and 2i + 1 have learned complementary halves.
        fpr: False positive rates ``[F]``, float64, from 0 to 1.
    """
    inside, outside = (roles[:, 0] for roles in by_role(score[None], member))  # [P,N]
    pairs, samples = inside.shape
    if bool(inside.isnan().any() or outside.isnan().any()):
        nothing = torch.full_like(fpr, torch.nan)
        return nothing, nothing, nothing
    of_pairs, of_samples = (resamples(count)[:REPLICATES].double() for count in (pairs, samples))
    of_pairs, of_samples = (
        torch.cat([torch.ones_like(drawn[:1]), drawn]) for drawn in (of_pairs, of_samples)
    )  # the first is no replicate, but all as it is
    (above, place), (top, order) = (roles.flatten().sort(descending=True) for roles in (inside, outside))
    called, mistaken = (
        (of_pairs[:, where // samples] * of_samples[:, where % samples]).cumsum(1) for where in (place, order)
    )
    allowed = fpr * mistaken[:, -1:] + 1e-9  # [R,F]
    passed = torch.searchsorted(mistaken, allowed, right=True)
    ends = torch.cat([top, top.new_full((1,), -torch.inf)])
    held = torch.searchsorted(-above, -ends[passed])  # so many members are above the threshold
    rate = torch.cat([torch.zeros_like(called[:, :1]), called], 1).gather(1, held) / called[:, -1:]
    low, high = rate[1:].quantile(torch.tensor([TAIL, 1 - TAIL], dtype=rate.dtype), dim=0)
    return rate[0], torch.minimum(low, rate[0]), torch.maximum(high, rate[0])


def curves(part: Part) -> list[Block]:
    """A chart for each pair, inference and view with a line for each strategy; of several seeds the first."""
    groups = grouped(part.results, lambda result: (part.names.group(result.cell), result.cell.view))
    ranked = sorted(groups, key=lambda place: -max(_area(result) for result in groups[place]))
    drawings = [_drawing(part, place, groups[place]) for place in ranked[:MOST]]
    left = len(groups) - len(drawings)
    more = [Text(f"{left} more are not drawn: those drawn are of the strongest inferences.")] * (left > 0)
    return [Text(f"{NOTE} {_counted(part)}"), Drawings(drawings), *more] if drawings else []


def _counted(part: Part) -> str:
    """How many decisions on non-members there are on each side."""
    found = grouped(part.results, lambda result: part.face.side(result.cell.view))
    counts = {side: sorted({int((~result.outcome.member).sum()) for result in members})
              for side, members in found.items()}  # fmt: skip
    said = [f"{' or '.join(map(str, many))} decisions on non-members ({side})" for side, many in counts.items()]
    return f"There are {' and '.join(said)}."


def _area(result: Result[Exposure]) -> float:
    value = float(result.curves["auc"].value[-1])
    return 0.0 if math.isnan(value) else value


def _drawing(part: Part, place: tuple[str, str], results: Sequence[Result[Exposure]]) -> Drawing:
    group, view = place
    decisions = min(result.outcome.member.numel() // 2 for result in results)
    least = min(ENOUGH / decisions, 0.5)
    fpr = torch.logspace(math.log10(least), 0, PLACES, dtype=torch.float64)
    lines = []
    for strategy, members in grouped(results, lambda result: part.names.strategy(result.cell)).items():
        record = members[0].outcome
        ends = roc(record.score[-1], record.member, fpr)
        lines.append((strategy, [_short(fpr), *map(_short, ends)]))
    side, last = part.face.side(view), part.face.axis_text(float(results[0].outcome.x[-1]))
    title = f"{group.rpartition(' → ')[2]}, {side}"
    label = f"ROC curves of {group}, {side}, after {last} epochs: members called over non-members called by mistake"
    return Drawing(title, label, lines, lambda strategies: chart(strategies, least))


def _short(values: Tensor) -> list[float | None]:
    return [None if math.isnan(value) else float(f"{value:.3g}") for value in values.tolist()]


def chart(strategies: Sequence[str], least: float) -> dict[str, Any]:
    """Lines with bands on logarithmic axes; they read the data set ``points``.

    Args:
        strategies: All labels of the page, in its order.
        least: The false positive rate below which nothing is drawn, above 0.
    """
    import altair as alt

    start = 10 ** math.floor(math.log10(least) + 1e-9)
    if start > least / 1.2:
        start /= 10
    scale = alt.Scale(type="log", domain=[start, 1], nice=False, clamp=True)
    axis = alt.Axis(values=[10.0**power for power in range(round(math.log10(start)), 1)], format="~%", grid=False)
    x = alt.X("x:Q", title="non-members called", scale=scale, axis=axis)
    y, low = (alt.Y(f"{name}:Q", title="members called", scale=scale, axis=axis) for name in ("value", "low"))
    color, dash = styles(strategies)
    points = alt.Chart(alt.NamedData(name="points"))
    few = alt.Chart(alt.InlineData(values=[{"x": start, "to": least, "low": start, "high": 1}]))
    even = alt.Chart(alt.InlineData(values=[{"x": start, "value": start}, {"x": 1, "value": 1}]))
    tips = [alt.Tooltip("strategy:N")] + [
        alt.Tooltip(f"{name}:Q", title=title, format=".3~%")
        for name, title in (("x", "non-members called"), ("value", "members called"), ("low", "from"), ("high", "to"))
    ]
    layers: list[alt.Chart] = [
        few.mark_rect(fill="currentColor", opacity=0.12, aria=False).encode(x=x, x2="to:Q", y=low, y2="high:Q"),
        even.mark_line(stroke="currentColor", strokeDash=[3, 3], strokeWidth=1, opacity=0.6).encode(x=x, y=y),
        points.mark_area(opacity=0.16).encode(x=x, y=low, y2="high:Q", color=color),
        points.mark_line(strokeWidth=2).encode(x=x, y=y, color=color, strokeDash=dash),
        points.mark_point(filled=True, size=120, opacity=0).encode(x=x, y=y, color=color, tooltip=tips),
    ]
    found: dict[str, Any] = alt.LayerChart(layer=layers).to_dict()
    return found
