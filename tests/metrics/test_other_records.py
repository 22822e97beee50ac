"""Metrics and checks of another threat's records: curves, intervals, means and tables need nothing but the record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from tests.test_records import Noise, noise, outcome
from tl_robust import metrics
from tl_robust.metrics import METRICS, rate, statistic
from tl_robust.metrics.estimate import clopper_pearson
from tl_robust.results import table
from tl_robust.trust import CHECKS, check, judge
from tl_robust.types import Cell, Evidence, Outcome, Record, Result, Verdict


@dataclass(frozen=True)
class Kept:
    """How many noisy images keep their class, here and in the records beside."""

    OF: ClassVar[type[Record]] = Noise

    here: Tensor
    beside: Mapping[str, Tensor]

    @classmethod
    def columns(cls, record: Noise, beside: Mapping[str, Noise]) -> Tensor:
        return torch.cat([(one.label == one.noisy.T).double() for one in (record, *beside.values())])

    @classmethod
    def kinds(cls, k: int, beside: int) -> Tensor:
        return torch.eye(1 + beside, dtype=torch.float64).repeat_interleave(k, dim=1)

    @classmethod
    def of(cls, means: Tensor, x: Tensor, order: Tensor, beside: Sequence[str]) -> Kept:
        here, *others = (part[..., order] for part in means.split(len(x), dim=-1))
        return cls(here, dict(zip(beside, others, strict=True)))


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    """Two metrics and two checks from one file, as a plugin would register them."""
    METRICS.names(), CHECKS.names()
    before = [dict(registry._items) for registry in (METRICS, CHECKS)]

    @rate(of=Noise, name="noisy_accuracy", higher_is_better=True)
    def noisy_accuracy(record: Noise) -> tuple[Tensor, Tensor]:
        """Share of all images that keep their class."""
        return record.label == record.noisy.T, record.label >= 0

    @statistic(of=Kept, name="lost", unit="share", beside=("quiet",))
    def lost(kept: Kept) -> Tensor:
        """What noise costs."""
        return kept.beside["quiet"] - kept.here

    @check(of=Noise, name="loud")
    def loud(evidence: Evidence[Noise]) -> Verdict:
        """Amber where the noise is loud."""
        return Verdict("amber", ("It is loud.",)) if float(evidence.outcome.sigma.max()) > 0.4 else Verdict()

    yield
    for registry, items in zip((METRICS, CHECKS), before, strict=True):
        registry._items.clear()
        registry._items.update(items)  # type: ignore[arg-type]


def wrong(samples: int, count: int) -> Noise:
    """The last ``count`` samples lose their class at the second strength."""
    record = noise(samples)
    record.noisy[:, 1] = torch.where(torch.arange(samples) < samples - count, record.label, (record.label + 1) % 3)
    return record


def result(seed: int, count: int) -> Result[Noise]:
    record, beside = wrong(100, count), {"quiet": wrong(100, 10)}
    cell = Cell("b", "a", "b", "dtn", "finetune", "", "none", "gauss", "l2", "outside", seed, 80)
    return Result(f"key{seed}", cell, record, beside, metrics.curves(record, "outside", beside), Verdict())


def test_metrics_are_computed_of_their_records_alone() -> None:
    assert result(0, 30).curves.keys() == {"noisy_accuracy", "lost"}
    assert metrics.curves(wrong(100, 30), "outside", {}).keys() == {"noisy_accuracy"}, "without what lost needs"
    assert {"noisy_accuracy", "lost"}.isdisjoint(metrics.curves(outcome(), "white", {"quiet": outcome()}))
    assert "transfer_ratio" in metrics.curves(outcome(), "black", {"white": outcome()})
    assert "transfer_ratio" not in metrics.curves(outcome(), "white", {"white": outcome()})
    with pytest.raises(ValueError, match="reads Noise, got Outcome"):
        METRICS["noisy_accuracy"](outcome())
    with pytest.raises(ValueError, match=r"metric\(record, \{'quiet': other\}\)"):
        METRICS["lost"](wrong(100, 30))


def test_a_curve_has_values_and_intervals_over_the_axis_of_the_record() -> None:
    curve = result(0, 30).curves["noisy_accuracy"]
    assert curve.eps.tolist() == [0.0, 0.5]
    assert curve.value.tolist() == [1.0, 0.7]
    low, high = clopper_pearson(torch.tensor([70.0]).double(), torch.tensor([100.0]).double())
    assert (float(curve.low[1]), float(curve.high[1])) == pytest.approx((float(low), float(high)))
    lost = result(0, 30).curves["lost"]
    assert lost.value.tolist() == pytest.approx([0.0, 0.2])
    assert 0.1 < float(lost.low[1]) < 0.2 < float(lost.high[1]) < 0.3
    assert torch.equal(METRICS["lost"](wrong(100, 30), wrong(100, 10)), lost.value), "one beside may stand alone"


def test_means_over_seeds_and_tables(tmp_path: Path) -> None:
    results = [result(seed, count) for seed, count in enumerate((28, 30, 32))]
    rows = [row for one in results for row in table.rows(one)]
    assert [(row.eps, row.value) for row in rows if row.metric == "noisy_accuracy"][:2] == [(0.0, 1.0), (0.5, 0.72)]
    means = {(row.metric, row.eps): row for row in table.summary(results)}
    accuracy = means["noisy_accuracy", 0.5]
    assert (accuracy.value, accuracy.n) == (pytest.approx(0.7), 300)
    assert 0.55 < accuracy.low < 0.7 < accuracy.high < 0.85
    assert means["lost", 0.5].value == pytest.approx(0.2)
    table.write(tmp_path / "table.csv", rows, table.COLUMNS)
    again = table.read(tmp_path / "table.csv")
    assert [(row.cell, row.metric, row.n) for row in again] == [(row.cell, row.metric, row.n) for row in rows]


def test_checks_judge_evidence_of_their_records_alone() -> None:
    assert judge(Evidence(wrong(100, 30))) == Verdict("amber", ("It is loud.",))
    quiet = Noise.of(noise().tensors() | {"sigma": torch.tensor([0.0, 0.1], dtype=torch.float64)})
    assert judge(Evidence(quiet)) == Verdict()
    assert "It is loud." not in judge(Evidence(outcome())).reasons
    assert CHECKS["within_budget"].of is Outcome
