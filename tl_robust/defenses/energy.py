"""An image that no class claims is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn
from typing_extensions import override

from tl_robust.defenses.base import DEFENSES
from tl_robust.defenses.detector import Detector, Suspecting
from tl_robust.models.guard import Ask


@DEFENSES.register
@dataclass(frozen=True)
class Energy(Detector):
    """Liu, Wang, Owens, Li, "Energy-based out-of-distribution detection", NeurIPS 2020, at temperature 1.

    The energy of an image is minus the logarithm of the sum of the exponentials of its logits. Of the paper only this
    score: no fine-tuning on foreign images.
    """

    POISON: ClassVar = (
        "rate=0.2",
        "What is poisoned much is answered surely, and what is sure has a low energy.",
    )

    @override
    def around(self, network: nn.Module, threshold: Tensor, learned: Mapping[str, Tensor]) -> Suspecting:
        return Energetic(network, threshold)


class Energetic(Suspecting):
    """Refuses where the energy is high."""

    @override
    def judged(self, images: Tensor, ask: Ask) -> tuple[Tensor, Tensor]:
        logits = self.inside(images, ask)
        return logits, -self.classes(logits).logsumexp(1)
