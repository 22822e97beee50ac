"""What is left of the memory of the source along fine-tuning."""

import torch
from torch import Tensor

from tl_robust.metrics.pairs import area, area_kinds, areas, over_pairs
from tl_robust.types import Exposure

LEAST = 0.01  # distance of A's own area from chance below which nothing is said of what is left of it


def _left(means: Tensor, x: Tensor) -> Tensor:
    above = area(means, x) - 0.5
    start = above[..., x == 0] if bool((x == 0).any()) else torch.full_like(above[..., :1], torch.nan)
    return above / torch.where(start >= LEAST, start, torch.nan)


@over_pairs(kinds=area_kinds, formula=_left, unit="ratio", views=("source",), when=lambda record: len(record.x) > 1)
def retention_of_source(record: Exposure) -> Tensor:
    """Area under the ROC curve above chance after each epoch, over that of A itself: 1 is all, 0 is nothing."""
    return areas(record.score, record.member)
