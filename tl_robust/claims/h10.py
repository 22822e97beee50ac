"""From seed to seed."""

from __future__ import annotations

import torch

from tl_robust.claims.base import Effect, MissingError, claim
from tl_robust.claims.record import Place, Record
from tl_robust.metrics import METRICS
from tl_robust.metrics.estimate import Estimate


@claim("H1 to H3 hold from seed to seed.", "ours")
def h10(record: Record, place: Place) -> list[Effect]:
    """The effects of H1 to H3, one value a seed: Student's t-test over seeds alone."""
    found = []
    for text, metric, view, more, less in (
        ("white-box accuracy, FineTune over Scratch", "robust_accuracy", "white", "finetune", "scratch"),
        ("black-box accuracy, Scratch over FineTune", "robust_accuracy", "black", "scratch", "finetune"),
        ("transfer_ratio, FineTune over Scratch", "transfer_ratio", "black", "finetune", "scratch"),
    ):
        draws, _ = record.gap(place, metric, view, more, less)  # type: ignore[arg-type]
        values = draws.value.mean(1)
        if len(values) < 3:
            raise MissingError("it needs at least three seeds (axes.seed=[0,1,2]).")
        error, freedom = values.std() / len(values) ** 0.5, torch.tensor([len(values) - 1.0], dtype=torch.float64)
        mean = Estimate(values.mean()[None], error[None], freedom, len(values), draws.samples)
        found.append(Effect(text, mean, None, (), METRICS[metric].unit))
    return found
