"""A network as a LightningModule: all that a Trainer needs to test it."""

from __future__ import annotations

from collections.abc import Sequence

from lightning import LightningModule
from torch import Tensor, nn


class NetworkModule(LightningModule):
    """What a strategy trains and a callback attacks: images in [0,1] to logits, the last layer as ``classifier``."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    @property
    def classifier(self) -> nn.Module:
        """The network's last layer; its input is the features."""
        return self.network.get_submodule("classifier")

    def forward(self, images: Tensor) -> Tensor:
        """Images ``[N,C,H,W]`` in [0,1] to logits ``[N,classes]``."""
        logits: Tensor = self.network(images)
        return logits

    def test_step(self, batch: Sequence[Tensor], index: int) -> None:
        """Does nothing itself: a callback attacks the module and judges its answers."""

    def predict_step(self, batch: Tensor | Sequence[Tensor], index: int) -> Tensor:
        """Logits ``[N,classes]`` of images ``[N,C,H,W]`` in [0,1], or of a sequence that starts with them."""
        logits: Tensor = self(batch if isinstance(batch, Tensor) else batch[0])
        return logits
