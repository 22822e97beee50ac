"""The guarded model itself."""

from dataclasses import dataclass

from torch import Tensor
from typing_extensions import override

from tl_robust.attacks.oracle import Model
from tl_robust.attacks.reach import Guarded
from tl_robust.attacks.through.base import THROUGH, Through


@THROUGH.register
@dataclass(frozen=True)
class Exact(Through):
    """The gradient of the model as it is, guarded or not: that of every plain attack."""

    @override
    def of(self, model: Model) -> Model:
        return model

    @override
    def logits(self, guard: Guarded, images: Tensor) -> Tensor:
        return guard.chain(images, lambda link, given: link(given))
