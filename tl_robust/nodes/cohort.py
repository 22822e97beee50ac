"""Models that are made in the same way from complementary halves of one training set."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from tl_robust.data.splits import Draw
from tl_robust.nodes.ages import along
from tl_robust.nodes.models import Model
from tl_robust.nodes.signaling import Halves, Signaling
from tl_robust.nodes.training import Training


@dataclass(frozen=True)
class Cohort:
    """Pairs of models; both of a pair stand after each other.

    Attributes:
        template: The model as it would be made from the whole set.
        halves: The set; every training on it learns a half in place of the whole.
        pairs: Number of pairs.
        seed: Seed of the coins.
        epochs: Epochs of the last training that are asked.
    """

    template: Model
    halves: Halves
    pairs: int
    seed: int
    epochs: tuple[int, ...]

    @cached_property
    def draws(self) -> tuple[Draw, ...]:
        """The half of each model."""
        shares = self.halves.val_share, self.halves.canaries
        return tuple(
            Draw(pair, tails, self.seed, *shares) for pair in range(self.pairs) for tails in (False, True)
        )  # fmt: skip

    @cached_property
    def models(self) -> tuple[Model, ...]:
        """The models, as they are after their last epoch."""

        def halved(draw: Draw) -> Model:
            def change(training: Training, key: str) -> Training:
                return (
                    replace(training, data=replace(training.data, draw=draw))
                    if training.data == self.halves.data
                    else training
                )

            return self.template.mapped(change)

        return tuple(map(halved, self.draws))

    @cached_property
    def signals(self) -> tuple[Signaling, ...]:
        """What each model says of all samples along its training."""
        return tuple(
            Signaling(tuple(map(model.at, along(model, self.epochs))), self.epochs, self.halves)
            for model in self.models
        )
