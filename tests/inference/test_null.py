"""Leaving out both models of a pair, or the target alone, and how often intervals hold chance in a hundred seeds."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import mannwhitneyu

from tl_robust import inference, metrics
from tl_robust.contracts.kinds.inference import exposed, halves, signals
from tl_robust.inference import Seen, Told
from tl_robust.registry import Scalar
from tl_robust.seeding import generator


def leaving_out_the_target_alone(attack: inference.Inference, inside: torch.Tensor) -> float:
    """Mean area over targets, of models that learned nothing, each with all other models as shadows."""
    said, areas = signals(inside, 0.0), []
    logits, tested = (torch.stack([each[0] for each in part]) for part in (
        [each.logits for each in said], [each.test_logits for each in said],
    ))  # fmt: skip
    label, test_label = said[0].label, said[0].test_label
    for model in range(len(inside)):
        others = torch.tensor([other for other in range(len(inside)) if other != model])
        score = attack.score(Seen(
            Told(logits[model], label), None, Told(logits[others], label), inside[others],
            Told(tested[model], test_label), Told(tested[others], test_label),
        ))  # fmt: skip
        members, outside = (score[side].numpy() for side in (inside[model], ~inside[model]))
        areas.append(mannwhitneyu(members, outside).statistic / (len(members) * len(outside)))
    return float(sum(areas) / len(areas))


@pytest.mark.parametrize("variance", ["own", "shared"])
def test_a_target_left_out_of_a_balanced_design_is_given_away_by_counting(variance: str) -> None:
    """Each sample in exactly half of 8 models: of a member, one shadow fewer has learned from it."""
    inside = torch.rand(8, 4000, generator=generator("design")).argsort(0) < 4
    attack = inference.get("lira", variance=variance)
    area = leaving_out_the_target_alone(attack, inside)
    assert area < 0.48
    member = halves(4, 4000)
    assert abs(float(metrics.get("auc")(exposed(attack, member, signals(member, 0.0)))) - 0.5) < 0.015


@pytest.mark.slow
@pytest.mark.parametrize("pairs", [2, 4, 8])
@pytest.mark.parametrize(("name", "settings"), [
    ("loss", {}), ("calibrated", {}), ("lira", {}), ("lira", {"mode": "offline"}), ("rmia", {}),
])  # fmt: skip
def test_intervals_hold_chance_as_often_as_they_say(name: str, settings: dict[str, Scalar], pairs: int) -> None:
    if pairs < inference.INFERENCES[name].LEAST:
        pytest.skip("it needs more pairs")
    attack, held = inference.get(name, pairs=pairs, **settings), 0
    for seed in range(100):
        member = halves(pairs, 4000, seed)
        curve = metrics.get("auc").curve(exposed(attack, member, signals(member, 0.0, seed=seed + 1000)))
        held += float(curve.low) <= 0.5 <= float(curve.high)
        assert abs(float(curve.value) - 0.5) < 0.015
    assert held >= 88  # of 100 draws at 95 %, all but one case in a thousand
