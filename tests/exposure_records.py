"""Records of membership whose truth is known: normal scores, d higher for members."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from tl_robust.types import Exposure


def made_exposure(
    models: int = 8,
    samples: int = 200,
    epochs: Sequence[float] = (0, 4),
    d: float | Sequence[float] = 1.0,
    seed: int = 0,
    *,
    null_samples: int = 100,
    null_d: float = 0.0,
    canaries: float = 0.0,
    canary_d: float = 3.0,
    pair_spread: float = 0.0,
    sample_spread: float = 0.0,
    accuracy: float = 0.9,
    gap: float = 0.05,
    shadow_accuracy: float | None = None,
    shadows: int | None = None,
    claim: tuple[float, float] = (0.0, 0.0),
    **fields: Tensor,
) -> Exposure:
    """Scores N(d, 1) of members and N(0, 1) of all others; the label is one of ten classes.

    With spreads, d of each pair and sample is d plus a normal draw a pair plus one a sample; the halves of a pair are
    complementary. The same ``seed`` gives the same coins and the same noise, whatever d is.

    Args:
        models: M, even; models 2i and 2i + 1 are pair i.
        samples: N.
        epochs: K epochs.
        d: How much higher members score, of all epochs or of each.
        seed: Of all draws.
        null_samples: Z, samples of the test split.
        null_d: How much higher the made-up members of the test split score; 0 as nobody learned from them.
        canaries: Share of samples whose label was made wrong: the first ones.
        canary_d: d of these.
        pair_spread: Standard deviation of d over pairs.
        sample_spread: Standard deviation of d over samples.
        accuracy: How often models are right on the test split and on what they did not learn from.
        gap: How much more often on what they learned from.
        shadow_accuracy: How often shadows are right on the test split; as the models where None.
        shadows: For each model; those of all other pairs where None.
        claim: Epsilon and delta.
        fields: Fields of the record that are as given.
    """
    draw = torch.Generator().manual_seed(seed)
    k, pairs = len(epochs), models // 2

    def coins(size: int) -> Tensor:
        heads = torch.rand(pairs, size, generator=draw) < 0.5
        return torch.stack([heads, ~heads], 1).flatten(0, 1)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=draw, dtype=torch.float64)

    member, null_member = coins(samples), coins(null_samples)
    canary = torch.arange(samples) < round(canaries * samples)
    far = torch.as_tensor(d, dtype=torch.float64).expand(k)[:, None, None].expand(k, models, samples)
    far = torch.where(canary, canary_d, far)
    far = far + pair_spread * normal(pairs, 1).repeat_interleave(2, 0) + sample_spread * normal(samples)
    score = normal(k, models, samples) + far * member
    null_score = normal(k, models, null_samples) + null_d * null_member
    right = torch.rand(k, models, samples, generator=draw) < accuracy + gap * member
    test_right = torch.rand(k, models, null_samples, generator=draw) < accuracy
    shadow_right = torch.rand(k, models, null_samples, generator=draw) < (shadow_accuracy or accuracy)
    tensors: dict[str, Any] = {
        "sample_id": torch.arange(samples), "epochs": torch.tensor(epochs, dtype=torch.float64),
        "label": torch.randint(10, (samples,), generator=draw), "canary": canary, "member": member, "score": score,
        "right": right, "null_member": null_member, "null_score": null_score, "test_right": test_right,
        "shadow_right": test_right if shadow_accuracy is None else shadow_right,
        "shadows": torch.tensor(models - 2 if shadows is None else shadows),
        "claim": torch.tensor(claim, dtype=torch.float64),
    }  # fmt: skip
    return replace(Exposure.of(tensors), **fields)
