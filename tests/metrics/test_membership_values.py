"""Metrics of membership against naive loops, closed forms and scikit-learn, and what must not change them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from tests.exposure_records import made_exposure
from tl_robust import metrics
from tl_robust.metrics import METRICS
from tl_robust.metrics.pooled import Ranked
from tl_robust.types import Exposure, Outcome

NORMAL = NormalDist()
TPR = {"tpr_at_0_1_percent": 0.001, "tpr_at_1_percent": 0.01, "tpr_at_10_percent": 0.1}
OF_SCORES = ("auc", "balanced_accuracy", "advantage", *TPR)


def rounded(record: Exposure, steps: int = 3) -> Exposure:
    """The same with few different scores, so that many are equal."""
    return replace(record, score=(record.score * steps).round() / steps)


@st.composite
def records(draw: st.DrawFn) -> Exposure:
    """2 or 3 pairs, 5 to 12 samples of which 3 are canaries, and 3 or more scores."""
    pairs, samples, levels = draw(st.integers(2, 3)), draw(st.integers(5, 12)), draw(st.integers(1, 6))
    record = made_exposure(2 * pairs, samples, (0, 1), 1.0, draw(st.integers(0, 10**6)), null_samples=7)
    canary = torch.arange(samples) < 3
    return replace(rounded(record, levels), canary=canary, null_score=(record.null_score * levels).round())


def decisions(record: Exposure, k: int) -> Iterator[tuple[int, int, bool, float]]:
    """Pair, sample, whether a member, and score."""
    for model in range(len(record.member)):
        for sample in range(record.member.shape[1]):
            yield model // 2, sample, bool(record.member[model, sample]), float(record.score[k, model, sample])


def naive_auc(record: Exposure, k: int) -> float:
    values = []
    for pair in range(len(record.member) // 2):
        scores: dict[bool, list[float]] = {True: [], False: []}
        for where, _, member, score in decisions(record, k):
            if where == pair:
                scores[member].append(score)
        won = [(one > other) + (one == other) / 2 for one in scores[True] for other in scores[False]]
        values.append(sum(won) / len(won))
    return sum(values) / len(values)


def naive_tpr(record: Exposure, k: int, alpha: float) -> float:
    every = list(decisions(record, k))
    members, others = ([score for *_, member, score in every if member == kind] for kind in (True, False))
    for threshold in sorted(others):
        if sum(score > threshold for score in others) <= alpha * len(others) * (1 + 1e-12):
            return sum(score > threshold for score in members) / len(members)
    raise AssertionError("the highest score has none above")


def naive_advantage(record: Exposure, k: int) -> float:
    every, gains = list(decisions(record, k)), []

    def gain(of: list[tuple[int, int, bool, float]], threshold: float) -> int:
        return sum((score > threshold) * (1 if member else -1) for *_, member, score in of)

    for pair in range(len(record.member) // 2):
        own, others = [one for one in every if one[0] == pair], [one for one in every if one[0] != pair]
        thresholds = [-math.inf, *sorted({score for *_, score in others})]
        best = max(thresholds, key=lambda threshold: (gain(others, threshold), threshold))
        gains.append(gain(own, best) / (len(own) / 2))
    return sum(gains) / len(gains)


def naive_gap(record: Exposure, k: int) -> float:
    right = {True: [], False: []}  # type: dict[bool, list[float]]
    for model, members in enumerate(record.member.tolist()):
        for sample, member in enumerate(members):
            right[member].append(float(record.right[k, model, sample]))
    return float(np.mean(right[True]) - np.mean(right[False]))


def of_canaries(record: Exposure) -> Exposure:
    return record.take(record.canary.nonzero().squeeze(1))


NAIVE: dict[str, Callable[[Exposure, int], float]] = {
    "auc": naive_auc,
    "canary_auc": lambda record, k: naive_auc(of_canaries(record), k),
    "null_auc": lambda record, k: naive_auc(replaced_by_null(record), k),
    **{name: lambda record, k, alpha=alpha: naive_tpr(record, k, alpha) for name, alpha in TPR.items()},
    "canary_tpr_at_1_percent": lambda record, k: naive_tpr(of_canaries(record), k, 0.01),
    "advantage": naive_advantage,
    "balanced_accuracy": lambda record, k: (1 + naive_advantage(record, k)) / 2,
    "train_gap": naive_gap,
    "cohort_accuracy": lambda record, k: float(np.mean(record.test_right[k].flatten().tolist())),
}


def replaced_by_null(record: Exposure) -> Exposure:
    few = record.take(torch.arange(1))
    score, member = record.null_score, record.null_member
    size = member.shape[1]
    return Exposure(
        **(few.tensors() | {
            "sample_id": torch.arange(size), "label": torch.zeros(size).long(), "canary": torch.zeros(size).bool(),
            "member": member, "score": score, "right": score > 0,
        })
    )  # fmt: skip


@pytest.mark.parametrize("name", sorted(NAIVE))
@given(record=records())
@settings(max_examples=25, deadline=None)
def test_values_are_those_of_plain_loops(name: str, record: Exposure) -> None:
    expected = [NAIVE[name](record, k) for k in range(2)]
    metric = METRICS[name]
    assert metric(record).tolist() == pytest.approx(expected, abs=1e-12)
    curve = metric.curve(record)
    assert curve.value.tolist() == pytest.approx(expected, abs=1e-12)
    assert bool((curve.low <= curve.value).all())
    assert bool((curve.value <= curve.high).all())
    least, most = metric.bounds
    assert least <= float(curve.low.min()) <= float(curve.high.max()) <= most


@pytest.mark.parametrize("steps", [1, 4, 10**9])
def test_the_area_is_scikit_learns_also_with_ties(steps: int) -> None:
    record = rounded(made_exposure(8, 150, (0, 4), (0.3, 2.0)), steps)
    expected = []
    for k in range(2):
        scores = [record.score[k, 2 * pair : 2 * pair + 2].flatten().numpy() for pair in range(4)]
        members = [record.member[2 * pair : 2 * pair + 2].flatten().numpy() for pair in range(4)]
        expected.append(np.mean([roc_auc_score(*both) for both in zip(members, scores, strict=True)]))
    assert METRICS["auc"](record).tolist() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("d", [0.5, 1.0, 2.0])
def test_closed_forms_are_in_the_intervals(d: float) -> None:
    """Of normal scores the area is Phi(d / sqrt 2), and of all members Phi(d - Phi^-1(1 - alpha)) are called."""
    record = made_exposure(24, 1000, (0, 4), (2 * d, d), seed=3)
    truth = {name: NORMAL.cdf(d - NORMAL.inv_cdf(1 - alpha)) for name, alpha in TPR.items()}
    truth["auc"] = NORMAL.cdf(d / math.sqrt(2))
    truth["balanced_accuracy"] = NORMAL.cdf(d / 2)
    truth["advantage"] = 2 * NORMAL.cdf(d / 2) - 1
    truth["retention_of_source"] = (truth["auc"] - 0.5) / (NORMAL.cdf(2 * d / math.sqrt(2)) - 0.5)
    for name, value in truth.items():
        curve = METRICS[name].curve(record)
        assert float(curve.low[1]) <= value <= float(curve.high[1]), name
        assert float(curve.high[1] - curve.low[1]) < 0.1, name


def _equal(first: Exposure, second: Exposure, names: tuple[str, ...], **near: float) -> None:
    for name in names:
        assert METRICS[name](first).tolist() == pytest.approx(METRICS[name](second).tolist(), abs=1e-12, **near), name


@given(records(), st.floats(-50, 50), st.sampled_from([0.5, 1.0, 4.0]))
@settings(max_examples=60, deadline=None)
def test_only_the_order_of_scores_counts(record: Exposure, shift: float, factor: float) -> None:
    """A constant for all, and any rising function of all scores."""
    higher = replace(record, score=record.score + round(shift))  # exact, so that equal scores stay equal
    stretched = replace(record, score=(factor * record.score).exp())
    for other in (higher, stretched):
        _equal(other, record, (*OF_SCORES, "canary_auc", "canary_tpr_at_1_percent"))


@given(records(), st.lists(st.sampled_from([0.5, 1.0, 4.0]), min_size=3, max_size=3))
@settings(max_examples=60, deadline=None)
def test_the_area_does_not_compare_pairs(record: Exposure, factors: list[float]) -> None:
    """Scores of each pair on a scale of its own leave it, and may move what has one threshold for all."""
    each = torch.tensor(factors[: len(record.member) // 2]).repeat_interleave(2)[:, None]
    moved = replace(record, score=(record.score * each).exp() + 100 * each)
    _equal(moved, record, ("auc", "canary_auc"))


def test_a_common_threshold_compares_pairs() -> None:
    """Where the scores of one pair are all higher, it alone has calls."""
    record = made_exposure(4, 100, (0,), 1.0)
    moved = replace(record, score=record.score + torch.tensor([0.0, 0, 100, 100])[:, None])
    before, after = (METRICS["tpr_at_1_percent"].draws([(one, None)]).value[:, 0] for one in (record, moved))
    assert float(before.min()) > 0
    assert float(after[0]) == 0
    assert float(after[1]) > float(before[1])


@given(records())
@settings(max_examples=60, deadline=None)
def test_the_models_of_a_pair_and_the_pairs_have_no_order(record: Exposure) -> None:
    models = len(record.member)
    inside = torch.arange(models).view(-1, 2).flip(1).flatten()
    around = torch.arange(models).view(-1, 2).flip(0).flatten()
    columns = Exposure.columns()
    for order in (inside, around):
        moved = replace(record, **{
            name: tensor.index_select(columns[name].axes.index("M"), order)
            for name, tensor in record.tensors().items()
            if "M" in columns[name].axes
        })  # fmt: skip
        _equal(moved, record, tuple(NAIVE))


@given(records())
@settings(max_examples=30, deadline=None)
def test_members_and_others_swapped_turn_the_area_around(record: Exposure) -> None:
    swapped = replace(record, member=~record.member)
    assert METRICS["auc"](swapped).tolist() == pytest.approx((1 - METRICS["auc"](record)).tolist())
    assert METRICS["train_gap"](swapped).tolist() == pytest.approx((-METRICS["train_gap"](record)).tolist())


def test_ties_are_not_called() -> None:
    """Half of the members and one non-member share the highest score: it is the threshold, so nobody is called."""
    record = made_exposure(4, 100, (0,))
    member = record.member
    score = torch.where(member & (torch.arange(100) < 50), 1.0, 0.0).double()
    one = int((~member[0]).nonzero()[0])
    found = METRICS["tpr_at_1_percent"]
    assert found(replace(record, score=score[None])).tolist() == [0.5]
    for count, expected in ((2, 0.5), (3, 0.0)):  # 2 of 200 may be above
        tied = score.clone()
        wrong = [(model, int(place)) for model in range(4) for place in (~member[model]).nonzero()[:5]]
        for model, place in wrong[:count]:
            tied[model, place] = 1.0
        assert found(replace(record, score=tied[None])).tolist() == [expected], (count, one)
    same = replace(record, score=torch.zeros_like(record.score))
    assert [METRICS[name](same).tolist() for name in OF_SCORES] == [[0.5], [0.5], [0], [0], [0], [0]]


def test_a_score_that_is_nan_is_never_the_highest() -> None:
    """One NaN makes its epoch undefined, and no other."""
    record = made_exposure(8, 60, (0, 4), canaries=0.2, null_samples=30)
    score, null_score = record.score.clone(), record.null_score.clone()
    score[1, 3, 5] = null_score[1, 0, 0] = torch.nan
    bad = replace(record, score=score, null_score=null_score)
    for name in (*OF_SCORES, "null_auc", "canary_auc", "canary_tpr_at_1_percent", "retention_of_source"):
        curve, good = METRICS[name].curve(bad), METRICS[name].curve(record)
        for part in ("value", "low", "high"):
            assert getattr(curve, part).isnan().tolist() == [False, True], name
            assert float(getattr(curve, part)[0]) == float(getattr(good, part)[0]), name
        assert METRICS[name](bad).isnan().tolist() == [False, True]
        assert METRICS[name].draws([(bad, None)]).value[:, 1].isnan().all(), name
    of_models = METRICS["train_gap"].curve(bad)
    assert not of_models.value.isnan().any()


def test_a_single_pair_has_no_other_pair_for_its_threshold() -> None:
    record = made_exposure(2, 100, (0,), 2.0)
    assert METRICS["advantage"](record).isnan().all()
    assert METRICS["balanced_accuracy"].curve(record).low.isnan().all()
    for name in ("auc", *TPR):
        curve = METRICS[name].curve(record)
        assert float(curve.low) < float(curve.value) < float(curve.high), name


def test_what_applies_where() -> None:
    plain, canaries = made_exposure(samples=40), made_exposure(samples=40, canaries=0.1)
    everywhere = {"auc", *TPR, "balanced_accuracy", "advantage", "train_gap", "cohort_accuracy", "null_auc"}

    def applying(record: Exposure, view: str, beside: dict[str, Exposure]) -> set[str]:
        known = {*NAIVE, "retention_of_source", "parent_value"}
        return {name for name in metrics.names(Exposure) if METRICS[name].applies(record, view, beside)} & known

    assert applying(plain, "target", {}) == everywhere
    assert applying(plain, "source", {}) == everywhere | {"retention_of_source"}
    assert applying(plain, "target", {"lineage": plain}) == everywhere | {"parent_value"}
    assert applying(canaries, "target", {}) == everywhere | {"canary_auc", "canary_tpr_at_1_percent"}
    with pytest.raises(ValueError, match="needs another record"):
        METRICS["parent_value"](plain)
    none = torch.zeros(1)
    outcome = Outcome(*[none.long()] * 4, *[none[None].long()] * 2, none[None], none.double(), none.bool(),
                      none[None].bool(), none.bool())  # fmt: skip
    for name in ("auc", "tpr_at_1_percent"):
        with pytest.raises(ValueError, match="reads Exposure, got Outcome"):
            METRICS[name](outcome)


def test_denominators() -> None:
    """Samples that are decided on, each in all models."""
    record = made_exposure(6, 50, (0,), canaries=0.2, null_samples=30)
    counts = {name: int(METRICS[name].curve(record).n) for name in NAIVE}
    assert counts == {
        **dict.fromkeys(("auc", "balanced_accuracy", "advantage", "train_gap", *TPR), 50),
        "canary_auc": 10, "canary_tpr_at_1_percent": 10, "null_auc": 30, "cohort_accuracy": 30,
    }  # fmt: skip


def test_retention_is_a_ratio_of_what_is_above_chance() -> None:
    record = made_exposure(8, 300, (0, 1, 4), (2.0, 1.0, 0.0))
    area, left = METRICS["auc"](record), METRICS["retention_of_source"].curve(record)
    assert left.value.tolist() == pytest.approx(((area - 0.5) / (area[0] - 0.5)).tolist())
    assert [float(end[0]) for end in (left.low, left.value, left.high)] == [1, 1, 1]
    assert float(left.low[2]) < 0 < float(left.high[2])
    later = made_exposure(8, 300, (1, 4), (2.0, 1.0))
    assert METRICS["retention_of_source"](later).isnan().all(), "epoch 0 was not asked"
    never = made_exposure(8, 300, (0, 4), (0.0, 1.0))
    start = METRICS["auc"].curve(never)
    assert float(start.low[0]) < 0.5 < float(start.high[0])
    assert METRICS["retention_of_source"](never).isnan().all(), "nothing is known to have been there"


def test_the_value_of_the_parent_is_a_difference_of_areas() -> None:
    recipe, lineage = made_exposure(8, 100, (2, 4), (0.5, 1.0)), made_exposure(8, 100, (2, 4), (1.5, 1.0))
    value = METRICS["parent_value"](recipe, {"lineage": lineage})
    assert value.tolist() == pytest.approx((METRICS["auc"](lineage) - METRICS["auc"](recipe)).tolist())
    assert value[0] > 0
    assert value.tolist() == pytest.approx((-METRICS["parent_value"](lineage, recipe)).tolist())
    with pytest.raises(ValueError, match="only records of the same samples"):
        METRICS["parent_value"](recipe, made_exposure(8, 90, (2, 4)))


def test_a_share_that_is_a_whole_number_of_decisions_is_that_number() -> None:
    """0.29 of 100 is 28.999999999999996 in floating point: 29 non-members may be called."""
    inside, outside = torch.arange(100.0).double().view(4, 25), torch.arange(100.0).double().view(4, 25)
    called = Ranked.of(inside, outside).rates(0.29, torch.ones(1, 25), torch.ones(1, 4))
    assert float(called.mean()) == pytest.approx(0.29)
