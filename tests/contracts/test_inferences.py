"""What holds for every membership inference."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from tl_robust import inference
from tl_robust.inference import INFERENCES, ShadowInference
from tl_robust.metrics import METRICS
from tl_robust.nodes.exposing import exposure
from tl_robust.types import Exposure, Signals

SAMPLES, CLASSES = 1500, 3
CASES: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in INFERENCES.names()),
    ("lira", {"mode": "offline"}), ("lira", {"variance": "own"}), ("lira", {"variance": "shrunken"}),
    ("rmia", {"mode": "offline"}), ("calibrated", {"signal": "loss", "over": "out"}), ("rmia", {"shadows": 4}),
]  # fmt: skip


def cohort(models: int, member: Tensor, memory: float, seed: int = 0) -> list[Signals]:
    """Models whose logit of the label is higher for what they learned."""
    draw = torch.Generator().manual_seed(seed)
    label = torch.randint(CLASSES, (SAMPLES,), generator=draw)
    hard = torch.randn(SAMPLES, generator=draw)
    one_hot = torch.nn.functional.one_hot(label, CLASSES).float()
    return [
        Signals(
            sample_id=torch.arange(SAMPLES),
            epochs=torch.tensor([1.0], dtype=torch.float64),
            label=label,
            logits=(torch.randn(1, SAMPLES, CLASSES, generator=draw) + one_hot * (hard + memory * member[m])[:, None]),
            test_label=label[:50],
            test_logits=torch.randn(1, 50, CLASSES, generator=draw),
        )
        for m in range(models)
    ]


def halves(models: int, seed: int = 1) -> Tensor:
    heads = torch.rand(models // 2, SAMPLES, generator=torch.Generator().manual_seed(seed)) < 0.5
    return torch.stack([heads, ~heads], 1).flatten(0, 1)


def record(name: str, settings: dict[str, Any], memory: float, pairs: int = 5) -> Exposure:
    built = inference.get(name, pairs=pairs, **settings)
    member = halves(2 * pairs)
    victims = cohort(2 * pairs, member, memory)
    shadows = victims if isinstance(built, ShadowInference) else []
    return exposure(built, victims, shadows, victims[0] if built.PARENT else None, member, torch.zeros(SAMPLES).bool())


@pytest.mark.parametrize(("name", "settings"), CASES)
def test_without_memory_the_area_is_half(name: str, settings: dict[str, Any]) -> None:
    curve = METRICS["auc"].curve(record(name, settings, memory=0.0))
    assert abs(float(curve.value) - 0.5) < 0.02
    assert float(curve.low) < 0.505
    assert float(curve.high) > 0.495


@pytest.mark.parametrize(("name", "settings"), CASES)
def test_memory_is_found(name: str, settings: dict[str, Any]) -> None:
    found = record(name, settings, memory=4.0)
    assert float(METRICS["auc"](found)) > 0.8
    assert float(METRICS["tpr_at_10_percent"](found)) > 0.3
    assert not found.score.isnan().any()


def test_a_partner_among_the_shadows_would_give_the_answer_away(monkeypatch: pytest.MonkeyPatch) -> None:
    def all_others(inference: object, model: int, models: int) -> Tensor:
        return torch.tensor([other for other in range(models) if other != model])

    monkeypatch.setattr("tl_robust.nodes.exposing._others", all_others)
    assert float(METRICS["auc"](record("lira", {"variance": "own"}, 0.0, pairs=4))) < 0.47


def test_an_answer_that_is_missing_is_not_ranked() -> None:
    found = record("loss", {}, memory=4.0)
    found.score[0, 0, 0] = torch.nan
    for name in ("auc", "tpr_at_1_percent"):
        assert METRICS[name].curve(found).value.isnan().all()
