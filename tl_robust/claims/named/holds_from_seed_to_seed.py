"""From seed to seed."""

from __future__ import annotations

import torch

from tl_robust.claims.claim import claim
from tl_robust.claims.comparisons import Comparisons, Place
from tl_robust.claims.effects import Effect
from tl_robust.claims.named.finetune_invites_transfer import black_loss
from tl_robust.claims.named.finetune_raises_transfer_ratio import ratio_gain
from tl_robust.claims.named.finetune_resists_white_box import white_gain
from tl_robust.metrics.estimate import Draws, Estimate, least_luck


@claim("H1 to H3 hold from seed to seed.", "ours", id="H10")
def holds_from_seed_to_seed(comparisons: Comparisons, place: Place) -> list[Effect]:
    """The effects of H1 to H3, one value a seed: Student's t-test over seeds alone."""
    return [_over_seeds(measure(comparisons, place)) for measure in (white_gain, black_loss, ratio_gain)]


def _over_seeds(effect: Effect) -> Effect:
    (draws,) = (draws.mean() for draws in effect.draws)
    return Effect(effect.name, by_seeds(draws), None, (), effect.unit, (draws,), by_seeds)


def by_seeds(draws: Draws) -> Estimate:
    """The mean of one value a seed ``[S,1]``, by the t distribution; seeds spread by the least luck at least."""
    seeds = len(draws.value)
    least = least_luck(draws.unseen.mean(0).amax(0), draws.samples)
    error = torch.maximum(draws.value.std(0), least) / seeds**0.5
    freedom = torch.full_like(error, seeds - 1.0)
    return Estimate(draws.value.mean(0), error, freedom, seeds, draws.samples)
