"""What an audit looks at, in memory: networks, images, and what the owner says of them.

Axes: N images, C channels, H height, W width, L classes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor, nn

from tl_robust.audit.record import File
from tl_robust.data.names import Names
from tl_robust.models.features import logits
from tl_robust.types import ImageSet


@dataclass(frozen=True, eq=False)
class ReadModel:
    """A model that was read from its files.

    Attributes:
        name: What readers call it.
        network: In eval mode, on the device of the audit; takes ``[N,C,H,W]`` in [0,1].
        classes: Names of its logits in their order.
        named: Whether its own files name them; where they do not, the names are those of the images.
        files: What it was read from; the first one holds its weights.
    """

    name: str
    network: nn.Module
    classes: Names
    named: bool = False
    files: tuple[File, ...] = ()


@dataclass(frozen=True, eq=False)
class Subject:
    """What an audit looks at.

    Attributes:
        model: What is audited, B; its logits are in the order of ``classes``.
        parent: The public model that its owner says it was made of, A; None where none is declared.
        decoys: Models of the same kind that it was not made of.
        images: Test images, uint8 ``[N,C,H,W]``, with labels.
        classes: Names of the labels in their order.
        train: Images that the model was trained on, in the same form; None where they are not given.
        stated: Share of right answers that the owner states; NaN where none.
        reference: Logits ``[R,L]`` that the owner's own pipeline gives for the first R images; None where not given.
        seed: Of all draws.
    """

    model: ReadModel
    parent: ReadModel | None
    decoys: tuple[ReadModel, ...]
    images: ImageSet
    classes: Names
    train: ImageSet | None = None
    stated: float = math.nan
    reference: Tensor | None = None
    seed: int = 0
    _said: dict[tuple[int, int], tuple[ImageSet, Tensor]] = field(default_factory=dict, init=False, repr=False)

    @property
    def candidates(self) -> tuple[ReadModel, ...]:
        """The models that it may come from: the parent, where one is declared, then the decoys."""
        return (*([self.parent] if self.parent else []), *self.decoys)

    def logits(self, model: ReadModel, images: ImageSet | None = None) -> Tensor:
        """What a model says of the test images or of others, float32 ``[N,L]`` on the CPU; asked once."""
        images = self.images if images is None else images
        key = id(model), id(images)
        if key not in self._said:
            self._said[key] = images, logits(model.network, images.images).cpu()
        return self._said[key][1]

    @cached_property
    def right(self) -> Tensor:
        """Bool ``[N]``: the model classifies the test image rightly."""
        said = self.logits(self.model)
        return (said.argmax(1) == self.images.labels) & said.isfinite().all(1)

    @property
    def accuracy(self) -> float:
        """Share of the test images that the model classifies rightly."""
        return float(self.right.double().mean())

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return next((tensor.device for tensor in self.model.network.state_dict().values()), torch.device("cpu"))
