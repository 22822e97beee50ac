"""An image that stays what it is under any other image is refused."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import log
from typing import ClassVar

import torch
from torch import Tensor, nn
from typing_extensions import override

from tl_robust.defenses.adaptive import Adaptive
from tl_robust.defenses.base import DEFENSES, Defense
from tl_robust.errors import ConfigError
from tl_robust.models.features import pixels
from tl_robust.models.guard import Ask, Guard, refusing
from tl_robust.seeding import generator
from tl_robust.types import ImageSet
from tl_robust.types.terms import ATLAS, NIST, Terms

MIXES = ("add", "mean")
BATCH = 500  # images that a network is asked about at a time


@DEFENSES.register
@dataclass(frozen=True)
class Strip(Defense):
    """Gao, Xu, Wang, Chen, Ranasinghe, Nepal, "STRIP", ACSAC 2019: superimpose clean images and look at the entropy.

    An image with a trigger is still called t, whatever lies over it, so that the mean entropy of the answers is low:
    below the threshold the image is refused. Overlays and threshold come from different held-out images.

    Attributes:
        overlays: Clean images that are laid over each image.
        mix: ``add``: the sum of both, clipped to [0,1]. ``mean``: their mean, which fades a trigger to half. Which is
            better depends on images and trigger: try both where a trigger can be planted.
        false_alarms: Share of the clean images under which the threshold lies, rounded down to whole images; with 0
            nothing is refused, and :meth:`Overlaid.suspicion` is all there is.
    """

    TERMS: ClassVar[Terms] = {NIST: "mitigation", ATLAS: "AML.M0015"}
    NEUTRAL = {"false_alarms": 0.0}

    overlays: int = 24
    mix: str = "add"
    false_alarms: float = 0.05

    def __post_init__(self) -> None:
        if self.mix not in MIXES:
            raise ConfigError(f"setting 'mix' of strip must be {' or '.join(MIXES)}, got {self.mix!r}.")
        if self.overlays < 1 or not 0 <= self.false_alarms < 1:
            raise ConfigError(f"strip needs overlays from 1 and false_alarms of at least 0 and below 1, got {self}.")

    @override
    def fit(self, network: nn.Module, validation: ImageSet, seed: int) -> dict[str, Tensor]:
        order = torch.randperm(len(validation), generator=generator("overlays", seed))
        count = min(self.overlays, len(order) // 2)
        judged = int(self.false_alarms * (len(order) - count))
        if not count or (self.false_alarms and not judged):
            raise ConfigError(
                f"strip needs {max(2, round(1 / (self.false_alarms or 1)))} held-out images beside {self.overlays} "
                f"overlays, got {len(order)} in all: raise recipe.val_share, or lower overlays."
            )
        overlays, threshold = validation.images[order[:count]], torch.tensor(0.0)
        if self.false_alarms:
            guard = Overlaid(network, overlays, threshold, self.mix, False)
            rest = validation.images[order[count:]].split(BATCH)
            entropy = torch.cat([guard.entropy(pixels(network, images)) for images in rest]).sort().values
            threshold = (entropy[judged - 1] + entropy[judged]) / 2
        return {"overlays": overlays, "threshold": threshold.detach()}

    @override
    def wrap(self, network: nn.Module, fitted: Mapping[str, Tensor]) -> nn.Module:
        return Overlaid(network, fitted["overlays"], fitted["threshold"], self.mix, self.false_alarms > 0)

    @override
    def adaptive(self) -> tuple[Adaptive, ...]:
        return (
            Adaptive("Mixing is smooth, so that the gradient through all overlays is right.", "exact"),
            Adaptive("The other class must exceed the refusal, too.", "exact", objective="evade"),
            Adaptive("A faint trigger is lost under another image.", backdoor="blend(alpha=0.1)"),
        )


class Overlaid(Guard):
    """Refuses where the mean entropy under overlays is low.

    Args:
        network: What is defended.
        overlays: Clean images, uint8 ``[K,C,H,W]``.
        threshold: In bits, ``[]``.
        mix: See :class:`Strip`.
        refuses: Whether it refuses at all.
    """

    overlays: Tensor
    threshold: Tensor

    def __init__(self, network: nn.Module, overlays: Tensor, threshold: Tensor, mix: str, refuses: bool) -> None:
        super().__init__(network)
        self.register_buffer("overlays", overlays.to(_device(network)))
        self.register_buffer("threshold", threshold.to(_device(network)))
        self.mix, self.refuses, self.inner_rejects = mix, refuses, self.rejects
        self.rejects = self.rejects or refuses

    @override
    def chain(self, images: Tensor, ask: Ask) -> Tensor:
        logits = super().chain(images, ask)
        if not self.refuses:
            return logits
        return refusing(logits, self.threshold - self._entropy(images, ask), self.inner_rejects)

    def entropy(self, images: Tensor) -> Tensor:
        """Mean entropy of the answers over all overlays, in bits ``[N]``, of images ``[N,C,H,W]`` in [0,1]."""
        return self._entropy(images, lambda link, inputs: link(inputs))

    @torch.no_grad()
    def suspicion(self, images: Tensor) -> Tensor:
        """How suspicious each image is, ``[N]``: the entropy, negative."""
        return -self.entropy(images)

    def _entropy(self, images: Tensor, ask: Ask) -> Tensor:
        total = images.new_zeros(len(images))
        for overlay in self.overlays.to(images.dtype) / 255:
            both = images + overlay
            logits = self.inside(both.clamp(0, 1) if self.mix == "add" else both / 2, ask)
            said = (logits[:, :-1] if self.inner_rejects else logits).log_softmax(1)
            total = total - (said.exp() * said).sum(1)
        return total / (len(self.overlays) * log(2))


def _device(network: nn.Module) -> torch.device:
    return next((weight.device for weight in network.parameters()), torch.device("cpu"))
