"""Records of membership made by hand, for tests of what shows them."""

from __future__ import annotations

from typing import Any

import torch

from tl_robust import metrics
from tl_robust.seeding import generator
from tl_robust.types import Cell, Exposure, Result, Verdict

SAMPLES, TESTED, MODELS = 120, 30, 6


def exposure(
    *told: float, shadows: int = 4, canaries: int = 0, claim: tuple[float, float] = (0, 0), samples: int = SAMPLES
) -> Exposure:
    """Scores of members are higher by ``told`` standard deviations, at epochs 0, 1, 2 where there are several."""
    draw = generator("exposure", *told)
    first = torch.rand(MODELS // 2, samples, generator=draw) < 0.5
    member = torch.stack([first, ~first], 1).flatten(0, 1)
    null = torch.rand(MODELS, TESTED, generator=draw) < 0.5
    noise = torch.randn(1, MODELS, samples, generator=draw, dtype=torch.float64)
    right = torch.ones(len(told), MODELS, TESTED, dtype=torch.bool)
    right[..., :6] = False
    more = torch.tensor(told, dtype=torch.float64)[:, None, None]
    return Exposure(
        sample_id=torch.arange(samples) * 7 + 4001,
        epochs=torch.tensor([0.0, 1.0, 2.0][: len(told)] if len(told) > 1 else [12.0], dtype=torch.float64),
        label=torch.arange(samples) % 10,
        canary=torch.arange(samples) < canaries,
        member=member,
        score=noise + more * member,
        right=(member[None] | (noise > 0)).expand(len(told), -1, -1).contiguous(),
        null_member=null,
        null_score=torch.randn(len(told), MODELS, TESTED, generator=draw, dtype=torch.float64),
        test_right=right,
        shadow_right=right,
        shadows=torch.tensor(shadows),
        claim=torch.tensor(claim, dtype=torch.float64),
    )


def result(
    attack: str, record: Exposure, strategy: str = "finetune", defense: str = "none", view: str = "target",
    **beside: Exposure,
) -> Result[Any]:  # fmt: skip
    cell = Cell("bench", "src", "tgt", "dtn", strategy, "", defense, attack, "", view, 0, SAMPLES, "membership")
    found = metrics.curves(record, cell.view, beside)
    return Result(f"{attack} {strategy} {defense}", cell, record, beside, found, Verdict(), {"outcome": attack})


CELLS = [
    result("loss", exposure(0.2)),
    result("rmia", exposure(1.0)),
    result("rmia", exposure(0.9), "scratch"),
    result("rmia(knowledge=recipe)", exposure(0.5), lineage=exposure(1.0)),
]
DECAY = [
    result("rmia", exposure(2.0, 0.6, 0.4), view="source"),
    result("rmia", exposure(2.0, 1.8, 1.5), "finetune(mode=probe)", view="source"),
]
AUDITED = [
    result("rmia", exposure(3.0, canaries=60), defense="none"),
    result("rmia", exposure(0.3, canaries=60, claim=(8, 1e-4)), defense="dp(epsilon=8)"),
    result("loss", exposure(0.1, canaries=60), defense="none"),
]
