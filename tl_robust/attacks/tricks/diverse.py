"""Images resized and padded at random."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.functional import interpolate
from typing_extensions import override

from tl_robust.attacks.problem import Problem
from tl_robust.attacks.tricks.base import TRICKS, Query, Trick, over_copies, pick


@TRICKS.register
@dataclass(frozen=True)
class Diverse(Trick):
    """The gradient is taken at a resized image, padded with zeros at a random place and resized back to its size.

    Xie et al., "Improving transferability of adversarial examples with input diversity", CVPR 2019. There the
    network takes the larger image; it is resized back (bilinear) since ours may not. Each sample and step has its
    own draw, and every size and place that fits may come up, the largest included: for small images they are few.

    Attributes:
        resize: Largest (above 1) or smallest (below 1) side as a share of the image's, rounded to whole pixels; the
            other end is the image's own. The paper's 330 of 299 pixels is 1.1; 32 pixels go to 32 to 35 of 35.
        probability: Share of samples that are changed, above 0 and at most 1.
    """

    resize: float = 1.1
    probability: float = 0.5

    def __post_init__(self) -> None:
        self.require(
            0 < self.resize <= 4 and self.resize != 1 and 0 < self.probability <= 1,
            "resize above 0 and at most 4 but not 1, and probability above 0 and at most 1",
        )

    @override
    def wrap(self, query: Query, eps: float) -> Query:
        return over_copies(1, self._change, query)

    def _change(self, problem: Problem, images: Tensor, number: int) -> Tensor:
        rows, columns = (self.matrices(problem, images, number, axis) for axis in ("height", "width"))
        return rows[:, None] @ images @ columns[:, None].transpose(-1, -2)

    def matrices(self, problem: Problem, images: Tensor, number: int, axis: str) -> Tensor:
        """What is done along one axis, a matrix a sample: ``[N,H,H]`` or ``[N,W,W]``.

        Args:
            problem: Its keys draw the change, the size (common to both axes) and the place.
            images: ``[N,C,H,W]``.
            number: Number of the evaluation.
            axis: ``height`` or ``width``.
        """
        side = images.shape[-2 if axis == "height" else -1]
        other = max(1, round(side * self.resize))
        low, high = min(side, other), max(side, other)
        share = problem.uniform((), "diverse", "size", number).double()
        index = (share * (high - low + 1)).long().clamp(max=high - low)
        first = pick(problem, high - low - index + 1, "diverse", axis, number)
        row = torch.arange(high, device=images.device) - first[:, None]
        sizes = _resized(side, low, high, images.dtype, images.device)
        padded = sizes[index[:, None], row.clamp(min=0)] * (row >= 0)[..., None]
        back = _linear(high, side).to(images)
        changed = problem.uniform((), "diverse", "change", number) < self.probability
        return torch.where(changed[:, None, None], back @ padded, torch.eye(side).to(images))


def _linear(side: int, to: int) -> Tensor:
    """The matrix of a linear resize, float64 ``[to,side]``."""
    identity = torch.eye(side, dtype=torch.float64)[None]
    return interpolate(identity, size=to, mode="linear", align_corners=False)[0].T


@lru_cache(maxsize=8)
def _resized(side: int, low: int, high: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """For each size from ``low`` to ``high`` its matrix, filled up with zero rows: ``[high-low+1,high,side]``."""
    matrices = torch.zeros(high - low + 1, high, side, dtype=torch.float64)
    for place, size in enumerate(range(low, high + 1)):
        matrices[place, :size] = _linear(side, size)
    return matrices.to(device, dtype)
