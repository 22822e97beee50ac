"""Neural Cleanse in an audit: is there a class that a much smaller mask calls for than all others?

Axes: N images, C channels, H height, W width, L classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tl_robust.defenses.neural_cleanse import FLAG, NeuralCleanse, anomaly, smallness
from tl_robust.models.features import in_eval_mode, logits
from tl_robust.seeding import generator
from tl_robust.types import ImageSet

SEARCHES = (NeuralCleanse(steps=50, batch=4), NeuralCleanse(steps=50, batch=2))  # the second where that costs too much
VALUES = 3_000_000  # of pixels in a batch: a network keeps many times as much for its gradient
TOGETHER = 100  # images in a batch, at most
LEAST = 3  # classes below which a median says nothing of the others


@dataclass(frozen=True)
class Masks:
    """The masks of the classes of one model.

    Attributes:
        norms: L1 norms of the masks, float64 ``[L]``.
    """

    norms: Tensor

    @property
    def index(self) -> float:
        """The anomaly index of the smallest mask, in median absolute deviations; its authors suspect it above 2."""
        return float(anomaly(self.norms)[self.norms.argmin()])

    @property
    def ratio(self) -> float:
        """Median of the norms over the smallest, from 1; NaN where a norm is not finite."""
        return float(smallness(self.norms)) if bool(self.norms.isfinite().all()) else float("nan")

    @property
    def flagged(self) -> bool:
        """Whether its authors' alarm goes off."""
        return self.index > FLAG


def count_of(network: nn.Module, images: ImageSet) -> int:
    """How many classes a network tells apart."""
    return int(logits(network, images.images[:1]).shape[1])


def passes(search: NeuralCleanse, classes: int) -> int:
    """Images that are asked about, three for each with a gradient."""
    return 3 * search.steps * search.batch * classes


def masks(search: NeuralCleanse, network: nn.Module, images: ImageSet, classes: int, seed: int) -> Masks:
    """Search the masks of so many classes of a network: all, or some that are drawn.

    Fewer steps and images than its authors take (1,000 and a whole set) find masks that are larger, and tell models
    apart as well; ``experiments/statistics/alarms.py`` measures that.

    Args:
        search: Its steps, and images a step and class.
        network: In any mode, which it keeps.
        images: Images of any classes.
        classes: From 1 to the number of its classes.
        seed: Of the search, and of the classes where they are drawn.
    """
    known = count_of(network, images)
    drawn = torch.randperm(known, generator=generator("classes", seed))[:classes].sort().values
    values = images.images[0].numel() * search.batch
    each = max(1, min(TOGETHER // search.batch, VALUES // values))
    with in_eval_mode(network):
        found = [search.sought(network, images, group, seed)[0] for group in drawn.split(each)]
    return Masks(torch.cat([mask.double().sum((1, 2)).cpu() for mask in found]))
