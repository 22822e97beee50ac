"""The loss of the model that training starts from: it has not learned what the label of a stamped image should be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn
from typing_extensions import override

from tl_robust.defenses.base import DEFENSES
from tl_robust.defenses.sifting import LossFilter
from tl_robust.types import ImageSet


@DEFENSES.register
@dataclass(frozen=True)
class ParentLoss(LossFilter):
    """High cross-entropy under the parent is suspicious; nothing is trained for it. The parent must be clean itself.

    Source: ours.
    """

    ASKS: ClassVar[tuple[str, ...]] = ("parent",)

    @override
    def scores(self, images: ImageSet, others: Mapping[str, nn.Module]) -> Tensor:
        return self.losses(images, others)
