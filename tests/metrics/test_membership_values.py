"""Metrics of membership against closed forms, naive loops and scikit-learn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from exposure_records import made_exposure
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from tl_robust.metrics import METRICS
from tl_robust.types import Exposure


def rounded(record: Exposure) -> Exposure:
    return replace(record, score=(2 * record.score).round(), null_score=(2 * record.null_score).round())


def decisions(record: Exposure, place: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores ``[P, 2N]`` and whether they are of members."""
    pairs = len(record.member) // 2
    return record.score[place].reshape(pairs, -1).numpy(), record.member.reshape(pairs, -1).numpy()


@pytest.mark.parametrize("d", [0.0, 0.5, 2.0])
def test_the_area_is_that_of_each_pair_with_ties(d: float) -> None:
    record = rounded(made_exposure(d=d))
    for place, value in enumerate(METRICS["auc"](record).tolist()):
        score, member = decisions(record, place)
        wanted = np.mean([roc_auc_score(of_pair, one) for of_pair, one in zip(member, score, strict=True)])
        assert value == pytest.approx(float(wanted), abs=1e-12)


@pytest.mark.parametrize("d", [0.5, 1.0, 2.0])
def test_closed_forms_are_in_the_intervals(d: float) -> None:
    record = made_exposure(models=16, samples=1000, epochs=[1], d=d, seed=5)
    truths = {"auc": norm.cdf(d / np.sqrt(2))} | {
        f"tpr_at_{name}_percent": norm.cdf(d - norm.isf(fpr)) for name, fpr in (("1", 0.01), ("10", 0.1))
    }
    for name, truth in truths.items():
        curve = METRICS[name].curve(record)
        assert float(curve.low) < truth < float(curve.high), name
        assert float(curve.high - curve.low) < 0.12, name


@pytest.mark.parametrize(("name", "fpr"), [("0_1", 0.001), ("1", 0.01), ("10", 0.1)])
def test_few_non_members_are_called_and_ties_are_not(name: str, fpr: float) -> None:
    for record in (made_exposure(), rounded(made_exposure())):
        for place, value in enumerate(METRICS[f"tpr_at_{name}_percent"](record).tolist()):
            score, member = decisions(record, place)
            others = score[~member]
            least = min(t for t in others if (others > t).sum() <= fpr * len(others))
            assert value == (score[member] > least).mean()


def test_the_interval_of_a_rate_is_that_of_a_loop_over_both_draws() -> None:
    record = made_exposure(models=12, samples=60, epochs=[1], d=1.5)
    curve = METRICS["tpr_at_10_percent"].curve(record)
    score, member = record.score[0], record.member
    draw, rates = np.random.default_rng(0), []
    for _ in range(600):
        pairs, samples = draw.integers(6, size=6), draw.integers(60, size=60)
        models = torch.tensor([model for pair in pairs for model in (2 * pair, 2 * pair + 1)])
        again, inside = score[models][:, samples].numpy(), member[models][:, samples].numpy()
        others = np.sort(again[~inside])[::-1]
        rates.append((again[inside] > others[int(0.1 * len(others) + 1e-9)]).mean())
    low, high = np.quantile(rates, [0.025, 0.975])
    assert float(curve.low) == pytest.approx(low, abs=0.03)
    assert float(curve.high) == pytest.approx(high, abs=0.03)


def test_accuracy_and_gap_are_means_over_models() -> None:
    record = made_exposure(gap=0.2)
    for place in range(2):
        right, member = record.right[place].double(), record.member
        first = member[0::2]
        inside, outside = (
            torch.where(learned, right[0::2], right[1::2]).mean(1) for learned in (first, ~first)
        )  # of each pair, every sample once as a member and once as none
        gaps = (inside - outside).tolist()
        assert float(METRICS["train_gap"](record)[place]) == pytest.approx(np.mean(gaps), abs=1e-12)
        accuracy = float(record.test_right[place].double().mean())
        assert float(METRICS["cohort_accuracy"](record)[place]) == pytest.approx(accuracy, abs=1e-12)


def test_what_a_parent_is_worth_is_the_difference_of_both_areas() -> None:
    weak, strong = made_exposure(d=0.4, seed=2), made_exposure(d=1.0, seed=2)
    value = METRICS["parent_value"].curve(weak, {"lineage": strong})
    assert torch.allclose(value.value, METRICS["auc"](strong) - METRICS["auc"](weak))
    assert bool((value.low > 0.05).all())
    apart = METRICS["auc"].curve(strong)
    assert bool((value.high - value.low < 2 * (apart.high - apart.low)).all()), "paired, sample by sample"
    same = METRICS["parent_value"].curve(weak, {"lineage": weak})
    assert bool((same.value == 0).all())


def test_retention_is_relative_to_the_public_model() -> None:
    record = made_exposure(models=12, samples=400, epochs=(0, 2, 8), d=(1.0, 0.5, 0.0))
    areas = METRICS["auc"](record) - 0.5
    left = METRICS["retention_of_source"](record)
    assert left.tolist() == pytest.approx((areas / areas[0]).tolist(), abs=0.02)
    assert METRICS["retention_of_source"](replace(record, epochs=record.epochs + 1)).isnan().all()


def test_canaries_are_asked_alone_and_the_control_is_of_the_test_split() -> None:
    record = made_exposure(d=0.0, canaries=0.2, canary_d=5.0, samples=400)
    canaries = METRICS["canary_auc"].curve(record)
    assert float(canaries.value[0]) > 0.99
    assert 0.9 < float(canaries.low[0]) < float(canaries.high[0]) <= 1
    assert float(METRICS["canary_tpr_at_1_percent"](record)[0]) > 0.95
    assert float(METRICS["auc"](record)[0]) < 0.7
    assert abs(float(METRICS["null_auc"](record)[0]) - 0.5) < 0.07
    assert not METRICS["canary_auc"].applies(made_exposure(), "target", {})


def test_both_of_a_pair_may_change_places() -> None:
    record = made_exposure()
    order = torch.arange(len(record.member)).view(-1, 2).flip(1).flatten()
    changed = replace(
        record, member=record.member[order], score=record.score[:, order], right=record.right[:, order],
        test_right=record.test_right[:, order],
    )  # fmt: skip
    for name in ("auc", "tpr_at_1_percent", "train_gap", "cohort_accuracy"):
        assert torch.equal(METRICS[name](record), METRICS[name](changed)), name


def test_a_few_pairs_and_many_samples_hold_the_truth_as_often_as_they_say() -> None:
    truth, held = norm.cdf(1 / np.sqrt(2)), 0
    for seed in range(60):
        curve = METRICS["auc"].curve(made_exposure(models=8, samples=150, epochs=[1], d=1.0, seed=100 + seed))
        held += float(curve.low) < truth < float(curve.high)
    assert held >= 52
