"""What has changed since an earlier audit: the same numbers of both, sample by sample where both kept them.

A model may be called worse only if that is sure over all numbers together (Holm's correction); it is not worse only if
each number says so, for which nothing needs to be corrected.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from scipy.special import bdtrc, ndtr, ndtri

from tl_robust.audit.record import Audit, Finding
from tl_robust.metrics.estimate import TAIL, Draws, estimate, holm, square_and_add


@dataclass(frozen=True)
class Change:
    """A number that both audits have.

    Attributes:
        now: Of this audit.
        then: Of the earlier one.
        gain: Now less then, turned so that more is better for the owner; NaN where one is undefined.
        low: Lower end of its 95 % interval; NaN where none can be told.
        high: Upper end.
        p: One-sided p-value against "it has not become worse by more than the margin", after Holm's correction; NaN
            where it cannot be told.
        paired: On the same samples, one by one.
    """

    now: Finding
    then: Finding
    gain: float
    low: float
    high: float
    p: float
    paired: bool

    @property
    def worse(self) -> bool:
        """Whether it is surely worse by more than the margin."""
        return self.p < TAIL

    def not_worse(self, margin: float) -> bool:
        """Whether it is surely not worse by more than the margin."""
        return self.low >= -margin


def changes(now: Audit, then: Audit, margin: float = 0.0) -> list[Change]:
    """The numbers that both have and of which one direction is better, in the order of this audit.

    Args:
        now: This audit.
        then: The earlier one.
        margin: From 0, in the unit of each number.
    """
    before = {finding.key: finding for finding in then.measured}
    same_data = now.data.sha256 == then.data.sha256
    same_rest = _all_digests(now) == _all_digests(then)
    same_model = same_data and _digests(now) == _digests(then)
    told = [
        _change(finding, before[finding.key], margin, same_data, same_model, same_model and same_rest)
        for finding in now.measured
        if finding.better and finding.key in before
    ]
    corrected = iter(holm([change.p for change in told if not math.isnan(change.p)]))
    return [change if math.isnan(change.p) else Change(**{**vars(change), "p": next(corrected)}) for change in told]


def _digests(audit: Audit) -> list[str]:
    return [file.sha256 for file in audit.model.files]


def _all_digests(audit: Audit) -> tuple[int, list[list[str]]]:
    models = [*([audit.parent] if audit.parent else []), *audit.others]
    return audit.seed, [[file.sha256 for file in model.files] for model in models]


def _change(now: Finding, then: Finding, margin: float, same_data: bool, same_model: bool, same_inputs: bool) -> Change:
    sign = 1.0 if now.better == "higher" else -1.0
    same_number = (now.value, now.low, now.high) == (then.value, then.low, then.high)
    kept = same_model and now.hits and now.hits == then.hits
    if kept or (same_inputs and not now.hits and same_number):  # nothing was drawn anew
        return Change(now, then, 0.0, 0.0, 0.0, 1.0, paired=True)
    if same_data and now.hits and len(now.hits) == len(then.hits):
        low, high, p = _paired(now.hits, then.hits, sign, margin)
        return Change(now, then, sign * (now.value - then.value), low, high, p, paired=True)
    change, *ends = square_and_add(then, now)
    low, high = sorted(sign * end for end in ends) if not math.isnan(sum(ends)) else (math.nan, math.nan)
    gain = sign * change
    p = float(ndtr((gain + margin) / (high - gain) * -ndtri(TAIL))) if high > gain else math.nan
    return Change(now, then, gain, low, high, p, paired=False)


def _paired(now: Sequence[bool], then: Sequence[bool], sign: float, margin: float) -> tuple[float, float, float]:
    """Ends of the interval of the gain, and the p-value, on the same samples.

    The p-value is at least that of the exact sign test over the samples that count in one audit alone (McNemar,
    Psychometrika 1947), since few of these are no sum that Student's t knows.
    """
    columns = torch.tensor([[now, then]], dtype=torch.float64)
    extremes = torch.eye(2, dtype=torch.float64)  # a sample that counts in one audit alone
    told = estimate(Draws.of(columns, lambda means: sign * (means[..., :1] - means[..., 1:]), extremes))
    low, high = told.interval()
    beyond = type(told)(-(told.value + margin), told.error, told.freedom, told.seeds, told.samples)
    before, after = (then, now) if sign > 0 else (now, then)
    lost = sum(was and not is_now for was, is_now in zip(before, after, strict=True))
    differ = sum(was != is_now for was, is_now in zip(before, after, strict=True))
    sign_test = float(bdtrc(lost - 1, differ, 0.5)) if lost else 1.0
    return float(low), float(high), max(float(beyond.above()), sign_test)
