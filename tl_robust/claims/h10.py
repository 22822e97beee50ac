"""From seed to seed."""

from __future__ import annotations

import torch

from tl_robust.claims.base import Effect, MissingError, claim
from tl_robust.claims.h1 import white_gain
from tl_robust.claims.h2 import black_loss
from tl_robust.claims.h3 import ratio_gain
from tl_robust.claims.record import Place, Record
from tl_robust.metrics.estimate import Estimate


@claim("H1 to H3 hold from seed to seed.", "ours")
def h10(record: Record, place: Place) -> list[Effect]:
    """The effects of H1 to H3, one value a seed: Student's t-test over seeds alone."""
    return [_over_seeds(measure(record, place)) for measure in (white_gain, black_loss, ratio_gain)]


def _over_seeds(effect: Effect) -> Effect:
    assert effect.draws is not None  # of one place
    values = effect.draws.value.mean(1)
    if len(values) < 3:
        raise MissingError("it needs at least three seeds (axes.seed=[0,1,2]).")
    error, freedom = values.std() / len(values) ** 0.5, torch.tensor([len(values) - 1.0], dtype=torch.float64)
    mean = Estimate(values.mean()[None], error[None], freedom, len(values), effect.draws.samples)
    return Effect(effect.name, mean, None, (), effect.unit)
