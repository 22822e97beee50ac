"""How often claims about membership are supported where they are not true: cohorts whose truth is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from statistics import NormalDist

import pytest
import torch
from torch import Tensor

from tests.claims.exposed import exposed
from tl_robust.claims import decide
from tl_robust.types import Result

NORMAL = NormalDist()
COHORTS, PAIRS, SAMPLES, OF_SOURCE = 200, 6, 150, 300
PROBE = "finetune(mode=probe)"
EPOCHS = (0, 1, 4, 12)
HALF = 2**0.5 * NORMAL.inv_cdf(0.5 + (NORMAL.cdf(2.5 / 2**0.5) - 0.5) / 2)  # half the exposure above chance of d = 2.5

Cohort = list[Result]


def normal(draw: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=draw, dtype=torch.float64)


def alike(luck: int) -> tuple[Tensor, Tensor]:
    """d of two sides, 0.8 on average, float64 ``[1,M,N]``: samples differ in both alike, pairs and samples in each."""
    draw = torch.Generator().manual_seed(luck)
    shared = 0.8 + 0.6 * normal(draw, SAMPLES)
    first, second = (
        shared + 0.3 * normal(draw, PAIRS, 1).repeat_interleave(2, 0) + 0.3 * normal(draw, SAMPLES) for _ in range(2)
    )
    return first[None], second[None]


def remembered(luck: int, full: list[float], probe: list[float]) -> Cohort:
    """Full fine-tuning and a probe from the same models, which differ in how much they give away from pair to pair."""
    draw = torch.Generator().manual_seed(luck)
    parents = (1 + 0.3 * normal(draw, PAIRS, 1)).clamp(min=0.2)
    later = torch.tensor(EPOCHS)[:, None, None] > 0

    def d(after: list[float]) -> Tensor:
        own = (parents * (1 + 0.2 * later * normal(draw, PAIRS, 1))).repeat_interleave(2, 1)
        return (torch.tensor(after, dtype=torch.float64)[:, None, None] * own).expand(-1, -1, OF_SOURCE)

    victims = {"finetune": d(full), PROBE: d(probe)}
    first, second = exposed(victims, view="source", epochs=EPOCHS, pairs=PAIRS, samples=OF_SOURCE, luck=luck)
    score = torch.cat([first.outcome.score[:1], second.outcome.score[1:]])
    return [first, replace(second, outcome=replace(second.outcome, score=score))]


def same_exposure(luck: int) -> Cohort:
    scratch, tuned = alike(luck)
    return exposed({"scratch": scratch, "finetune": tuned}, pairs=PAIRS, samples=SAMPLES, luck=luck)


def worthless_parent(luck: int) -> Cohort:
    alone, lineage = alike(luck)
    attack = "rmia(knowledge=recipe)"
    return exposed({"finetune": alone}, attack=attack, lineage=lineage, pairs=PAIRS, samples=SAMPLES, luck=luck)


def half_left(luck: int) -> Cohort:
    d = torch.tensor([2.5, HALF, 0.5, 0.2], dtype=torch.float64)
    return exposed({"finetune": d}, view="source", epochs=EPOCHS, pairs=PAIRS, samples=OF_SOURCE, luck=luck)


def same_memory(luck: int) -> Cohort:
    return remembered(luck, [2.0, 1.0, 0.8, 0.6], [2.0, 1.0, 0.8, 0.6])


def same_memory_in_the_end(luck: int) -> Cohort:
    return remembered(luck, [2.0, 0.5, 0.5, 0.6], [2.0, 1.6, 1.6, 0.6])


def same_accuracy(luck: int) -> Cohort:
    return exposed(
        {"scratch": 0.1, "finetune": 0.1}, defense="dp(epsilon=3.0)", claim=(3.0, 1e-4), accuracy=0.8, pairs=PAIRS,
        samples=SAMPLES, null_samples=SAMPLES, luck=luck,
    )  # fmt: skip


WORLDS = [
    ("M1", same_exposure),
    ("M2", worthless_parent),
    ("M3", half_left),
    ("M4", same_memory),
    ("M4", same_memory_in_the_end),
    ("D5", same_accuracy),
]


@pytest.mark.slow
@pytest.mark.parametrize(("claim", "world"), WORLDS, ids=[world.__name__ for _, world in WORLDS])
def test_at_most_5_of_100_cohorts_support_what_is_not_so(claim: str, world: Callable[[int], Cohort]) -> None:
    said = [
        next((one.decision for one in decide(world(luck)) if one.claim == claim and not one.pair), "not there")
        for luck in range(COHORTS)
    ]
    assert set(said) <= {"supported", "refuted", "undecided"}
    assert said.count("supported") <= 0.05 * COHORTS
    assert len(set(said)) > 1, "an error that is far too long would never say anything"
