"""Whether numbers of membership are to be believed, as far as that needs metrics of the record."""

from __future__ import annotations

from collections.abc import Iterator

from tl_robust.metrics import METRICS
from tl_robust.metrics.estimate import holm
from tl_robust.metrics.one_run import ERROR, Audit
from tl_robust.types import Exposure, Verdict

SURE = 0.02  # how far a control must lie from a half to matter
STRETCH = 1.7  # an interval so much longer misses a half in one of a thousand cells by chance, not in one of twenty
LEARNED_BY_HEART = 0.95
CALLED = 10  # non-members above a threshold, below which their share is hardly known
RATES = {"tpr_at_0_1_percent": 0.001, "tpr_at_1_percent": 0.01, "tpr_at_10_percent": 0.1}


def warnings(record: Exposure, side: str) -> Iterator[Verdict]:
    """What speaks against all numbers of a record on the side ``target`` or ``source``."""
    value, low, high = _area("null_auc", record, -1)
    if _apart(value, low, high):
        yield Verdict("red", (
            "On test images, which no model learned from, the inference tells made-up members from others with an area "
            f"of {value:.1%} [{low:.1%}, {high:.1%}] where 50 % is chance: the answer leaks into its score.",
        ))  # fmt: skip
    if float(record.epochs[0]) == 0 and side == "target":
        value, low, high = _area("auc", record, 0)
        if _apart(value, low, high):
            yield Verdict("red", (
                "Before its first epoch on the target the model already tells members from non-members with an area of "
                f"{value:.1%} [{low:.1%}, {high:.1%}]: its parent has seen the target's data.",
            ))  # fmt: skip
    yield from _claims(record)
    if bool(record.canary.any()):
        value, low, high = _area("canary_auc", record, -1)
        if value >= LEARNED_BY_HEART:
            yield Verdict("amber", (
                f"The models memorize: canaries with wrong labels are told apart with an area of {value:.1%} "
                f"[{low:.1%}, {high:.1%}].",
            ))  # fmt: skip


def poor(record: Exposure, enough: int, repeated: int) -> Iterator[Verdict]:
    """What weakens an attack, so that a better one may find more.

    Args:
        record: The record.
        enough: Shadows that the inference needs to be as good as it gets.
        repeated: Samples of which the pool has another copy.
    """
    if int(record.shadows) < enough:
        yield Verdict("amber", (
            f"{int(record.shadows)} shadows are few for this inference, which is as good as it gets with {enough}: "
            "use more pairs or another inference.",
        ))  # fmt: skip
    if repeated:
        yield Verdict("amber", (
            f"{repeated} of {len(record.sample_id)} samples have an identical copy among the others: a model that "
            "learned from one half may know images of the other, which hides what it gives away.",
        ))  # fmt: skip


def doubts(record: Exposure) -> dict[str, Verdict]:
    """Metrics that rest on too few non-members, by name, with how many pairs would do."""
    others, pairs = int((~record.member).sum()), len(record.member) // 2
    found = {}
    for name, rate in RATES.items():
        if round(rate * others, 9) < CALLED:
            enough = -int(-CALLED * pairs // (rate * others)) if others else 0
            found[name] = Verdict("amber", (
                f"{rate:.1%} of {others} decisions on non-members are fewer than {CALLED}: use {enough} pairs or more.",
            ))  # fmt: skip
    return found


def _claims(record: Exposure) -> Iterator[Verdict]:
    epsilon, delta = (float(number) for number in record.claim)
    if epsilon <= 0:
        return
    audit = Audit.of(record)
    p = [float(number) for number, known in zip(audit.chances(epsilon)[-1], audit.known[-1], strict=True) if known]
    violated = sum(number <= ERROR for number in holm(p))
    if violated:
        yield Verdict("red", (
            f"Claim violated: the defense claims epsilon {epsilon:g} at delta {delta:g}, which the audit refutes for "
            f"{violated} of {len(p)} models (5 % over all of them, by Holm's correction).",
        ))  # fmt: skip


def _area(metric: str, record: Exposure, place: int) -> tuple[float, float, float]:
    curve = METRICS[metric].curve(record)
    return float(curve.value[place]), float(curve.low[place]), float(curve.high[place])


def _apart(value: float, low: float, high: float) -> bool:
    low, high = value - STRETCH * (value - low), value + STRETCH * (high - value)
    return abs(value - 0.5) > SURE and not low <= 0.5 <= high
