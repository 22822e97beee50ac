"""The audit of one training run: a bound that holds, at most its ceiling, on guesses that are fixed before looking."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from scipy.stats import binom
from torch import Tensor

from tl_robust.metrics import METRICS
from tl_robust.metrics.one_run import Audit, ceiling, chance, guesses, lower_bound
from tl_robust.types import Exposure


def record(
    score: Tensor, member: Tensor, canary: Tensor | None = None, claim: tuple[float, float] = (0, 0)
) -> Exposure:
    """A record of one epoch from scores ``[M,N]``; the test split has four samples."""
    models, samples = score.shape
    none = torch.zeros(1, models, 4, dtype=torch.bool)
    rest: dict[str, Any] = {"null_score": none.double(), "test_right": none, "shadow_right": none}
    return Exposure(
        sample_id=torch.arange(samples), epochs=torch.ones(1).double(), label=torch.zeros(samples, dtype=torch.int64),
        canary=torch.zeros(samples, dtype=torch.bool) if canary is None else canary, member=member,
        score=score[None].double(), right=member[None], null_member=none[0], shadows=torch.tensor(2),
        claim=torch.tensor(claim, dtype=torch.float64), **rest,
    )  # fmt: skip


def responses(epsilon: float, runs: int, coins: int, seed: int) -> Exposure:
    """Randomized response: every model says of each sample which side its coin showed, and lies at times."""
    draw = torch.Generator().manual_seed(seed)
    heads = torch.randint(2, (runs // 2, coins), generator=draw).bool()
    member = torch.stack([heads, ~heads], 1).flatten(0, 1)
    lies = torch.rand(runs, coins, generator=draw, dtype=torch.float64) > 1 / (1 + math.exp(-epsilon))
    return record((member != lies).double() + torch.rand(runs, coins, generator=draw) / 2, member)


@pytest.mark.parametrize("epsilon", [0.5, 1.0, 3.0])
def test_the_bound_is_above_the_truth_of_randomized_response_in_at_most_5_percent_of_1000_runs(epsilon: float) -> None:
    bounds = Audit.of(responses(epsilon, 1000, 1200, 1)).bounds()[0]
    assert float((bounds > epsilon).double().mean()) <= 0.05
    assert float(bounds.mean()) > 0.25 * epsilon  # and it is worth something


def test_how_many_are_guessed_must_not_be_chosen_after_looking() -> None:
    made = responses(1.0, 1000, 400, 1)
    order = made.score[0].argsort(stable=True, dim=-1, descending=True)
    true = made.member.gather(1, order)
    found = []
    for each in range(2, 200, 4):
        right = true[:, :each].sum(-1) + (~true[:, -each:]).sum(-1)
        found.append([lower_bound(400, 2 * each, int(v)) for v in right])
    best = torch.tensor(found).amax(0)
    assert float((best > 1.0).double().mean()) > 0.1


@pytest.mark.parametrize("r", [2, 12, 48, 480])
def test_with_all_right_the_bound_is_its_ceiling(r: int) -> None:
    q = 0.05 ** (1 / r)
    assert lower_bound(1197, r, r) == pytest.approx(max(0.0, math.log(q / (1 - q))), abs=1e-6)
    assert lower_bound(120, 48, 48, 1e-4) == pytest.approx(2.71, abs=0.005)  # measured by a program of its own


@pytest.mark.parametrize("delta", [0.0, 1e-4, 1e-2])
def test_the_chance_is_that_of_the_theorem_and_rises_with_epsilon_where_it_refutes(delta: float) -> None:
    m, r, v = 120, 24, 20

    def by_hand(epsilon: float) -> float:
        q = 1 / (1 + math.exp(-epsilon))
        beta = sum(binom.pmf(k, r, q) for k in range(v, r + 1))
        slack = max(sum(binom.pmf(k, r, q) for k in range(v - i, v)) / i for i in range(1, v + 1))
        return min(1.0, beta + 2 * m * delta * slack)

    several = [0.02 * step for step in range(200)]
    ours = [chance(m, r, v, epsilon, delta) for epsilon in several]
    assert ours == pytest.approx([by_hand(epsilon) for epsilon in several], rel=1e-9)
    until = sum(p <= 0.05 for p in ours)
    assert all(p <= 0.05 for p in ours[:until])
    assert ours[:until] == sorted(ours[:until])
    bound = lower_bound(m, r, v, delta)
    assert chance(m, r, v, bound, delta) <= 0.05 + 1e-9 or bound == 0
    assert chance(m, r, v, bound + 1e-6, delta) > 0.05


def test_delta_lowers_the_bound_and_no_right_guess_proves_nothing() -> None:
    bounds = [lower_bound(120, 24, 24, delta) for delta in (0.0, 1e-5, 1e-4, 1e-3, 1.0)]
    assert bounds == sorted(bounds, reverse=True)
    assert bounds[0] > bounds[2] > bounds[4] == 0
    assert lower_bound(120, 24, 0) == lower_bound(120, 24, 12) == 0
    assert math.isnan(lower_bound(1, 0, 0))


def test_the_highest_and_lowest_scores_are_guessed_and_equal_ones_by_place() -> None:
    score = torch.zeros(2, 40)
    score[:, 7], score[:, 30] = 1, -1
    member = torch.zeros(2, 40, dtype=torch.bool)
    member[0, [0, 7]] = True
    member[1] = ~member[0]
    for members in (member, ~member):  # which samples are guessed does not depend on the coins
        audit = Audit.of(record(score, members))
        assert audit.guesses == guesses(40) == 4
        assert audit.guessed[0, 0].nonzero()[:, 0].tolist() == [0, 7, 30, 39]
        assert audit.guessed[0, 1].nonzero()[:, 0].tolist() == [0, 7, 30, 39]
    audit = Audit.of(record(score, member))
    assert audit.correct.sum(-1).tolist() == [[4, 0]]


def test_where_there_are_canaries_their_coins_alone_are_guessed() -> None:
    draw = torch.Generator().manual_seed(0)
    heads = torch.randint(2, (1, 400), generator=draw).bool()
    member = torch.cat([heads, ~heads])
    canary = torch.zeros(400, dtype=torch.bool).index_fill_(0, torch.arange(0, 400, 4), True)
    score = torch.where(canary, member.double(), 5 - 10 * member.double())  # of all others the opposite
    plain, canaries = (record(score, member, chosen) for chosen in (None, canary))
    assert Audit.of(canaries).coins == 100
    assert METRICS["guesses_right"](plain).tolist() == [0.0]
    assert METRICS["guesses_right"](canaries).tolist() == [1.0]
    ceiling_here = METRICS["epsilon_ceiling"](canaries)
    assert METRICS["epsilon_bound"](canaries).tolist() == pytest.approx(ceiling_here.tolist(), abs=1e-6)
    assert float(ceiling_here) == pytest.approx(ceiling(40), abs=1e-6)
    assert METRICS["epsilon_bound"](plain).tolist() == [0.0]


def test_a_missing_score_leaves_its_model_out() -> None:
    made = responses(3.0, 4, 200, 2)
    made.score[0, 1, 5] = torch.nan
    bounds = Audit.of(made).bounds()[0]
    assert bounds.isnan().tolist() == [False, True, False, False]
    assert float(METRICS["epsilon_bound"](made)) == pytest.approx(float(bounds.nanmean()))


def test_the_share_of_right_guesses_has_an_interval_that_holds_the_truth() -> None:
    held = []
    for seed in range(40):
        curve = METRICS["guesses_right"].curve(responses(1.0, 16, 200, seed))
        held.append(float(curve.low) <= 1 / (1 + math.exp(-1)) <= float(curve.high))
        assert 0 <= float(curve.low) < float(curve.value) < float(curve.high) <= 1
    assert sum(held) >= 35


def test_a_claim_has_a_metric_only_where_there_is_one() -> None:
    plain = responses(1.0, 2, 100, 0)
    claimed = record(plain.score[0], plain.member, claim=(8.0, 1e-4))
    metric = METRICS["epsilon_claimed"]
    assert not metric.applies(plain, "target", {})
    assert metric.applies(claimed, "target", {})
    assert metric(claimed).tolist() == [8.0]
    assert float(METRICS["epsilon_ceiling"](claimed)) < float(METRICS["epsilon_ceiling"](plain))
