"""What all detectors share: a threshold from clean held-out images, the refusal beyond it, and who evades both.

Axes: N images, C channels, H height, W width, L logits.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from typing_extensions import override

from tl_robust.defenses.adaptive import Adaptive
from tl_robust.defenses.base import Defense
from tl_robust.errors import ConfigError
from tl_robust.models.features import BATCH, pixels
from tl_robust.models.guard import Ask, Guard, refusing
from tl_robust.types import ImageSet
from tl_robust.types.terms import ATLAS, NIST, Terms


@dataclass(frozen=True)
class Detector(Defense):
    """Base of defenses that refuse an image which looks suspicious; a subclass says in its guard how suspicious it is.

    The threshold is made of clean held-out images alone, and lies in the middle between two of them.

    Attributes:
        WAY: What gradients are taken of by who evades it, a name of ``attacks/through``.
        KNOWN: Why these gradients are right, in one sentence.
        POISON: The backdoor of who knows it, and why it looks harmless.
        false_alarms: Share of the held-out images beyond the threshold, rounded down to whole images; 0 refuses none.
    """

    TERMS: ClassVar[Terms] = {NIST: "mitigation", ATLAS: "AML.M0015"}
    NEUTRAL = {"false_alarms": 0.0}
    WAY: ClassVar[str] = "exact"
    POISON: ClassVar[tuple[str, str]]
    KNOWN: ClassVar[str] = "What it looks at is smooth, so that the guard's own gradient is right."

    false_alarms: float = 0.05

    def __post_init__(self) -> None:
        if not 0 <= self.false_alarms < 1:
            raise ConfigError(f"{self._name} needs false_alarms of at least 0 and below 1, got {self.false_alarms}.")

    @property
    def _name(self) -> str:
        return type(self).__module__.rpartition(".")[2]

    @abstractmethod
    def around(self, network: nn.Module, threshold: Tensor, learned: Mapping[str, Tensor]) -> Suspecting:
        """The guard, made of what :meth:`learned` returned."""

    def learned(self, network: nn.Module, validation: ImageSet, seed: int) -> tuple[dict[str, Tensor], Tensor]:
        """What the guard learns from held-out images, and how suspicious each of them is, ``[N]``."""
        guard = self.around(network, torch.tensor(torch.inf), {})
        batches = validation.images.split(BATCH)
        return {}, torch.cat([guard.suspicion(pixels(network, images)) for images in batches])

    @override
    def fit(self, network: nn.Module, validation: ImageSet, seed: int) -> dict[str, Tensor]:
        if not self.false_alarms:
            return {}
        refused = int(self.false_alarms * len(validation))
        if not refused or len(validation) < 3:
            raise ConfigError(
                f"{self._name} needs {max(3, round(1 / self.false_alarms))} held-out images for false_alarms="
                f"{self.false_alarms:g}, got {len(validation)}: raise recipe.val_share, or false_alarms."
            )
        learned, found = self.learned(network, validation, seed)
        ranked = found.sort().values
        return learned | {"threshold": ((ranked[-refused - 1] + ranked[-refused]) / 2).float()}

    @override
    def wrap(self, network: nn.Module, fitted: Mapping[str, Tensor]) -> nn.Module:
        if not self.false_alarms:
            return Guard(network)
        learned = {name: tensor for name, tensor in fitted.items() if name != "threshold"}
        return self.around(network, fitted["threshold"], learned)

    @override
    def adaptive(self) -> tuple[Adaptive, ...]:
        (backdoor, harmless), evade = self.POISON, "Another class must exceed label and refusal, both (Carlini, 2017)."
        return (
            Adaptive(self.KNOWN, self.WAY),
            Adaptive(evade, self.WAY, objective="evade"),
            Adaptive(harmless, backdoor=backdoor),
        )


class Suspecting(Guard):
    """Refuses images that are more suspicious than a threshold.

    Args:
        network: What is defended.
        threshold: ``[]``, the most suspicious image that is answered.
        links: What an image goes through beside the network, each alone, to see how suspicious it is.
        learned: Further buffers.
    """

    threshold: Tensor

    def __init__(
        self, network: nn.Module, threshold: Tensor, links: Iterable[nn.Module] = (), **learned: Tensor
    ) -> None:
        super().__init__(network, links)
        device = next((weight.device for weight in network.parameters()), torch.device("cpu"))
        for name, tensor in ({"threshold": threshold} | learned).items():
            self.register_buffer(name, tensor.to(device))
        self.inner_rejects, self.rejects = self.rejects, True

    @abstractmethod
    def judged(self, images: Tensor, ask: Ask) -> tuple[Tensor, Tensor]:
        """Logits ``[N,L]`` of the network inside, and how suspicious each image is ``[N]``; ``ask`` asks each link."""

    def classes(self, logits: Tensor) -> Tensor:
        """Logits without those that refuse."""
        return logits[:, :-1] if self.inner_rejects else logits

    @override
    def chain(self, images: Tensor, ask: Ask) -> Tensor:
        logits, found = self.judged(images, ask)
        return refusing(logits, found - self.threshold, self.inner_rejects)

    @torch.no_grad()
    def suspicion(self, images: Tensor) -> Tensor:
        """How suspicious each image is, ``[N]``, of images ``[N,C,H,W]`` in [0,1]."""
        return self.judged(images, lambda link, inputs: link(inputs))[1]
