"""Means over seeds where only the rows of single cells are known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.stats import norm
from scipy.stats import t as student

from tl_robust.metrics import METRICS, Metric
from tl_robust.metrics.estimate import LEAST_NOISE, TAIL, Ends
from tl_robust.metrics.readings import Number, Reading
from tl_robust.results.names import grid, grouped
from tl_robust.results.table import Row
from tl_robust.trust.base import worst
from tl_robust.types import Verdict

NORMAL = float(norm.isf(TAIL))


def mean_rows(rows: Sequence[Row]) -> list[Row]:
    """Rows of the means, with approximate intervals.

    The test set is the same for all seeds, so its part of the error does not shrink with their number; what the seeds
    differ by comes on top, with S - 1 degrees of freedom (Satterthwaite, Biometrics Bulletin 1946). Both together are
    a little too wide, since a part of the seeds' spread is that of samples. Seeds that agree do not make it sure: in
    the degrees of freedom their spread counts as a tenth of the samples' part at least, and where neither shows any
    spread the interval is not known (NaN). What is read off mean curves is not known from single cells (NaN), and a
    place on the axis lies on it.
    """
    groups = grouped(rows, lambda row: (replace(row.cell, seed=-1), row.metric, row.eps))
    grids = grouped((row for row in rows if row.eps is not None), lambda row: replace(row.cell, seed=-1))
    metrics = {name: METRICS[name] for name in METRICS.names()}  # a table of strangers may have others
    return [_mean(group, metrics.get(metric), grid(grids.get(cell, ()))) for (cell, metric, _), group in groups.items()]


def _mean(group: Sequence[Row], metric: Metric | None, xs: Sequence[float]) -> Row:
    trust = worst([Verdict(row.trust) for row in group]).level  # type: ignore[arg-type]
    cell = replace(group[0].cell, seed=-1)
    mean = replace(group[0], cell=cell, n=sum(row.n for row in group), trust=trust, key="")
    known = [row for row in group if not math.isnan(row.value)]
    if len(group) == 1 or (len(known) < 2 and not isinstance(metric, Reading)):
        only = (known or group)[0]
        return replace(mean, value=only.value, low=only.low, high=only.high)
    if isinstance(metric, Reading):
        return replace(mean, value=math.nan, low=math.nan, high=math.nan)
    if isinstance(metric, Number):
        center = float(np.array([row.value for row in known]).mean())
        return replace(mean, value=center, low=center, high=center)
    center, reach = mean_of(known)
    bounds = metric.bounds if metric else (-math.inf, math.inf)
    least, most = (xs[0], xs[-1]) if metric and xs and metric.unit == mean.axis else bounds
    if math.isnan(reach):
        return replace(mean, value=center, low=math.nan, high=math.nan)
    return replace(mean, value=center, low=max(center - reach, least), high=min(center + reach, most))


def mean_of(known: Sequence[Ends]) -> tuple[float, float]:
    """The mean of two or more numbers with intervals, and how far its own 95 % interval reaches to each side.

    The numbers are taken to be of the same samples, as :func:`mean_rows` describes: where samples differ, the interval
    is too wide. It is NaN where neither samples nor the numbers show any spread.
    """
    value, low, high = (np.array([getattr(item, name) for item in known]) for name in ("value", "low", "high"))
    samples = float(((high - low) ** 2).mean()) / (2 * NORMAL) ** 2
    spread = float(value.var(ddof=1)) / len(known)
    center, error = float(value.mean()), samples + spread
    if error == 0:
        return center, math.nan
    freedom = (len(known) - 1) * (error / max(spread, LEAST_NOISE * samples)) ** 2
    return center, float(math.sqrt(error) * student.isf(TAIL, freedom))
