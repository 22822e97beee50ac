"""What the parent is worth to an attacker."""

import torch
from torch import Tensor

from tl_robust.metrics.pairs import area, area_kinds, areas, over_pairs
from tl_robust.types import Exposure


def _more(means: Tensor, x: Tensor) -> Tensor:
    own, with_parent = means.chunk(2, dim=-1)
    return area(with_parent, x) - area(own, x)


def _kinds(k: int) -> Tensor:
    one, zero = area_kinds(k).split(1)
    return torch.cat([torch.cat([zero, one], 1), torch.cat([one, zero], 1)])


@over_pairs(kinds=_kinds, formula=_more, beside=("lineage",), signed=True)
def parent_value(record: Exposure, lineage: Exposure) -> Tensor:
    """Area under the ROC curve with shadows that start from the very parent, less that without it, image by image."""
    return torch.cat([areas(each.score, each.member) for each in (record, lineage)], 1)
