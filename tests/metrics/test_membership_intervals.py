"""How sure numbers of membership are: against closed forms, plain bootstraps and simulated cohorts."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from statistics import NormalDist
from time import process_time

import numpy as np
import pytest
import torch
from scipy.stats import binom, norm
from torch import Tensor

from tests.exposure_records import made_exposure
from tl_robust import metrics
from tl_robust.metrics import METRICS
from tl_robust.metrics.estimate import estimate, resamples, unseen_share
from tl_robust.metrics.metric import curves
from tl_robust.metrics.pairs import by_role
from tl_robust.metrics.pooled import Ranked
from tl_robust.results.difference import contrast
from tl_robust.types import Curve, Exposure

NORMAL = NormalDist()


def width(curve: Curve) -> list[float]:
    return (curve.high - curve.low).tolist()


def likely(hits: int, of: int, level: float) -> bool:
    """Whether so many intervals may hold the truth if ``level`` of all do: once in 1,000 it says no."""
    return bool(binom.ppf(0.0005, of, level) <= hits <= binom.ppf(0.9995, of, level))


@pytest.fixture(scope="module")
def cohorts() -> dict[str, list[Exposure]]:
    """150 cohorts of a world: nobody learns anything, pairs and samples differ, or samples differ alone."""
    worlds = {"null": (4, 0.0, 0.0, 0.0), "crossed": (12, 0.7, 0.2, 0.7), "samples": (12, 0.7, 0.0, 1.0)}
    return {
        name: [
            made_exposure(
                2 * pairs, 200, (4,), d, seed, null_samples=200, pair_spread=of_pairs, sample_spread=of_samples
            )
            for seed in range(150)
        ]
        for name, (pairs, d, of_pairs, of_samples) in worlds.items()
    }


def held(records: list[Exposure], name: str, truth: float) -> int:
    found = [METRICS[name].curve(record) for record in records]
    return sum(bool(curve.low <= truth <= curve.high) for curve in found)


def truths(d: float, spread: float) -> dict[str, float]:
    """Area and rate at 1 % of members N(d, 1 + spread**2) among N(0, 1)."""
    area = NORMAL.cdf(d / math.sqrt(2 + spread**2))
    return {"auc": area, "tpr_at_1_percent": NORMAL.cdf((d - NORMAL.inv_cdf(0.99)) / math.sqrt(1 + spread**2))}


def test_where_nothing_is_learned_95_of_100_intervals_hold_chance(cohorts: dict[str, list[Exposure]]) -> None:
    for name, chance in (("auc", 0.5), ("null_auc", 0.5)):
        assert likely(held(cohorts["null"], name, chance), 150, 0.95), name
    assert held(cohorts["null"], "tpr_at_1_percent", 0.01) >= 135
    assert likely(held(cohorts["crossed"], "null_auc", 0.5), 150, 0.95)
    assert held(cohorts["null"], "auc", 0.53) < 130, "intervals are not simply long"


def test_intervals_hold_the_truth_where_pairs_and_samples_differ(cohorts: dict[str, list[Exposure]]) -> None:
    """Samples that all models find hard are no luck of single decisions: without their part, 80 of 100 do."""
    for world, spread in (("crossed", math.hypot(0.2, 0.7)), ("samples", 1.0)):
        for name, truth in truths(0.7, spread).items():
            hits = held(cohorts[world], name, truth)
            assert likely(hits, 150, 0.95) or (name != "auc" and hits >= 135), (world, name, hits)


def test_intervals_are_as_long_as_they_must_be(cohorts: dict[str, list[Exposure]]) -> None:
    """Of the ideal length, that of a normal distribution with the spread that cohorts have."""
    for name, most in (("auc", 1.2), ("tpr_at_1_percent", 1.5)):
        for world in ("crossed", "samples"):
            found = [METRICS[name].curve(record) for record in cohorts[world][:80]]
            ideal = 2 * norm.isf(0.025) * float(np.std([float(curve.value) for curve in found], ddof=1))
            assert 0.75 < np.mean([width(curve)[0] for curve in found]) / ideal < most, (name, world)


def delong(inside: Tensor, outside: Tensor) -> float:
    """Variance of an area whose samples are members and non-members at once, by comparing every pair."""
    won = (inside[:, None] > outside).double() + (inside[:, None] == outside).double() / 2
    return float((won.mean(1) + won.mean(0)).var() / len(inside))


def test_samples_drawn_again_spread_an_area_as_delong_says() -> None:
    """Both sides of a sample count: half of them is a quarter of the variance."""
    record = made_exposure(6, 400, (4,), 1.0, sample_spread=1.0)
    inside, outside = by_role(record.score, record.member)
    draws = METRICS["auc"].draws([(record, None)])
    for pair in range(3):
        expected = delong(inside[pair, 0], outside[pair, 0])
        assert float(draws.again[pair, :, 0].var()) == pytest.approx(expected, rel=0.15)


def plain_rate(inside: Tensor, outside: Tensor, weights: Tensor, alpha: float) -> float:
    """The rate at the threshold of decisions ``[P,N]`` that count so often."""
    for threshold in outside.flatten().sort().values:
        if float((weights * (outside > threshold)).sum()) <= alpha * outside.numel():
            return float((weights * (inside > threshold)).sum() / inside.numel())
    raise AssertionError("the highest score has none above")


@pytest.mark.parametrize("alpha", [0.001, 0.01, 0.1, 0.5])
@pytest.mark.parametrize("steps", [2, 10**6])
def test_every_replicate_has_the_rate_at_its_own_threshold(alpha: float, steps: int) -> None:
    """As a loop over all decisions with the product of both weights says."""
    record = made_exposure(8, 60, (4,), 1.0)
    inside, outside = ((side[:, 0] * steps).round() / steps for side in by_role(record.score, record.member))
    drawn = resamples(60)[:40]
    picked = torch.randint(4, (40, 4), generator=torch.Generator().manual_seed(1))
    pairs = torch.zeros(40, 4).scatter_add_(1, picked, torch.ones(40, 4))
    found = (Ranked.of(inside, outside).rates(alpha, drawn, pairs) * pairs).mean(1)
    expected = [
        plain_rate(inside, outside, pairs[one][:, None].double() * drawn[one].double(), alpha) for one in range(40)
    ]
    assert found.tolist() == pytest.approx(expected, abs=1e-6)


def test_a_product_of_weights_alone_would_count_the_rest_three_times() -> None:
    """Owen's theorem 3, where nothing but single decisions varies: the interval is a good half as long as without."""
    record = made_exposure(24, 400, (4,), 0.5, seed=2)
    inside, outside = (side[:, 0] for side in by_role(record.score, record.member))
    draw = torch.Generator().manual_seed(5)
    picked = torch.randint(12, (1000, 12), generator=draw)
    pairs = torch.zeros(1000, 12).scatter_add_(1, picked, torch.ones(1000, 12))
    plain = (Ranked.of(inside, outside).rates(0.1, resamples(400), pairs) * pairs).mean(1)
    percentiles = torch.quantile(plain, torch.tensor([0.025, 0.975], dtype=torch.float64))
    assert 0.5 < width(METRICS["tpr_at_10_percent"].curve(record))[0] / float(percentiles.diff()) < 0.8


def test_what_nobody_shows_is_not_sure() -> None:
    """No variance is not no variance: an area of 1 and a rate of 0 or 1 have intervals."""
    record = made_exposure(8, 100, (4,))
    apart = replace(record, score=record.member.double()[None], right=torch.ones_like(record.right))
    share = unseen_share(100)
    curve = METRICS["auc"].curve(apart)
    assert (float(curve.value), float(curve.high)) == (1, 1)
    assert float(curve.low) == pytest.approx(1 - share)
    for name, value in (("tpr_at_1_percent", 1), ("balanced_accuracy", 1)):
        curve = METRICS[name].curve(apart)
        assert (float(curve.value), float(curve.high)) == (value, 1), name
        assert float(curve.low) == pytest.approx(1 - share), name
    never = METRICS["tpr_at_1_percent"].curve(replace(record, score=torch.zeros_like(record.score)))
    assert [float(never.low), float(never.value)] == [0, 0]
    assert float(never.high) == pytest.approx(share)
    gap = METRICS["train_gap"].curve(apart)
    assert float(gap.low) < 0 == float(gap.value) < float(gap.high)


def test_an_area_near_one_stays_below_it_and_is_not_lost() -> None:
    """Of 120 canaries told apart at 98 %; a floor of the error on the logit would reach down to a half."""
    curve = METRICS["canary_auc"].curve(made_exposure(8, 1200, (4,), 0.3, canaries=0.1, canary_d=3.0))
    assert 0.97 < float(curve.value) < float(curve.high) < 1
    assert 0.9 < float(curve.low) < float(curve.value)


def test_the_value_of_the_parent_is_paired() -> None:
    """Two attackers who judge the same samples alike are compared more surely than each is known."""
    recipe = made_exposure(24, 500, (4,), 1.0, pair_spread=0.5, sample_spread=1.0)
    noise = torch.randn(recipe.score.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    lineage = replace(recipe, score=recipe.score + 0.4 * recipe.member + 0.3 * noise)
    gap = METRICS["parent_value"].curve(recipe, lineage)
    assert 0 < float(gap.low) < float(gap.high)
    assert width(gap)[0] < 0.5 * width(METRICS["auc"].curve(recipe))[0]


SEVERAL = ("auc", "tpr_at_1_percent", "balanced_accuracy", "train_gap", "retention_of_source", "cohort_accuracy")


@pytest.mark.parametrize("name", SEVERAL)
def test_of_one_seed_pairs_are_the_units_of_several_cohorts_are(name: str) -> None:
    records = [made_exposure(8, 150, (0, 4), (2.0, 1.0 + 0.1 * seed), seed) for seed in range(3)]
    seeds = [(record, None) for record in records]
    metric = METRICS[name]
    values = torch.stack([metric(record) for record in records])
    single, several = metric.draws(seeds[:1]), metric.draws(seeds)
    assert single.value.shape == (4, 2)
    assert single.again.shape == (4, 1000, 2)
    assert single.value.mean(0).tolist() == pytest.approx(values[0].tolist())
    assert several.value.tolist() == pytest.approx(values.numpy())
    assert several.again.shape == (3, 1000, 2)
    assert several.again.mean(1)[:, 1].tolist() == pytest.approx(values[:, 1].tolist(), abs=0.02)
    curve = metric.mean_curve(seeds)
    assert curve.value.tolist() == pytest.approx(values.mean(0).tolist())
    assert bool((curve.low <= curve.value).all())
    assert bool((curve.value <= curve.high).all())
    assert curve.n.tolist() == [3 * int(metric.curve(records[0]).n[0])] * 2
    apart = [(made_exposure(8, 150, (0, 4), (2.0, d), 1), None) for d in (0.2, 1.0, 1.8)]
    if name not in ("train_gap", "cohort_accuracy"):
        assert width(metric.mean_curve(apart))[1] > 3 * width(metric.curve(*apart[1]))[1], "seeds differ"


def test_a_seed_that_is_undefined_is_left_out() -> None:
    records = [made_exposure(8, 80, (0, 4), seed=seed) for seed in range(3)]
    bad = replace(records[0], score=records[0].score * torch.nan)
    for name in ("auc", "tpr_at_1_percent"):
        curve = METRICS[name].mean_curve([(record, None) for record in (bad, *records[1:])])
        assert curve.value.tolist() == pytest.approx(
            METRICS[name].mean_curve([(record, None) for record in records[1:]]).value.tolist()
        )


@pytest.mark.parametrize("name", ["auc", "tpr_at_10_percent", "advantage", "train_gap"])
def test_two_cohorts_are_compared_in_pairs(name: str) -> None:
    """As ``compare`` does: the same halves and samples, so that what both have in common does not widen it."""
    first = made_exposure(24, 300, (0, 4), 1.0, pair_spread=0.3, sample_spread=1.0)
    noise = torch.randn(first.score.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    second = replace(first, score=first.score + 0.3 * noise)
    change = contrast(METRICS[name], [(first, None)], [(second, None)], ["0", "4"])
    assert change.value.tolist() == pytest.approx((METRICS[name](second) - METRICS[name](first)).tolist())
    single = estimate(METRICS[name].draws([(first, None)]))
    if name != "train_gap":
        assert bool((change.error < 0.9 * single.error).all())
    else:
        assert change.value.tolist() == [0, 0]


def test_all_curves_of_a_bench_take_less_than_a_second_or_two() -> None:
    """12 pairs of 1,077 samples at 6 epochs: about 0.8 s on one core."""
    record = made_exposure(24, 1077, (0, 1, 2, 4, 8, 12), 0.5, null_samples=600, canaries=0.1)
    before = process_time()
    found = curves(record, "source", {})
    assert process_time() - before < 4
    assert {"auc", "tpr_at_0_1_percent", "retention_of_source", "canary_tpr_at_1_percent"} <= set(found)
    assert set(found) <= set(metrics.names(Exposure))


def seconds(call: Callable[[], object]) -> float:
    call()
    before = process_time()
    call()
    return process_time() - before


def test_a_rate_with_its_interval_takes_a_fraction_of_a_second() -> None:
    """12 pairs of 1,077 samples and 1,000 replicates: 0.03 s on one core."""
    record = made_exposure(24, 1077, (4,), 1.0, null_samples=10)
    for name in ("tpr_at_0_1_percent", "tpr_at_1_percent", "tpr_at_10_percent"):
        assert seconds(lambda name=name: METRICS[name].curve(record)) < 0.3, name
