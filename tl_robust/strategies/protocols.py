"""What a strategy meets without importing it: the forest that its lineage names trainings in, and a defense."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, TypeVar

from torch import Tensor, nn

from tl_robust.registry import Component

D_contra = TypeVar("D_contra", contravariant=True)
T_contra = TypeVar("T_contra", contravariant=True)
D = TypeVar("D")
M = TypeVar("M")


class Train(Protocol[D_contra, M]):
    """Names a training of the lineage forest: a model of ``domain``, from ``parent`` or from random weights.

    The same training named twice, by any strategy or bench, is one training.
    """

    @property
    def own(self) -> Component:
        """The cell's strategy with the settings that differ from its defaults, for a lineage that depends on them.

        ``by=train.own`` trains a root, too, by the hooks and the settings of the cell's own strategy.
        """

    def __call__(
        self,
        domain: D_contra,
        parent: M | None = None,
        by: str | Component | None = None,
        defense: Component | None = None,
        salt: str = "",
    ) -> M:
        """The training.

        Args:
            domain: What is learned.
            parent: The training whose weights it starts from.
            by: The strategy whose hooks train it. A component (``train.own``, ``STRATEGIES.component(name, settings)``)
                brings its settings, at a root as well. A name has the settings of the cell's strategy where there is a
                parent and none at a root. Unless said, ``scratch`` without a parent and ``finetune`` with one.
            defense: The defense whose hooks join in this training.
            salt: Tells apart what is drawn again: another text gives the same training with other random draws.
        """


class TrainingDefense(Protocol[T_contra]):
    """What a defense may do in a training; see ``TransferTask.defend``."""

    def initialize(self, task: T_contra, parent: Mapping[str, Tensor] | None) -> None:
        """Change the weights that training starts from, after the strategy has set them."""

    def loss(self, task: T_contra, batch: Sequence[Tensor], others: Mapping[str, nn.Module]) -> Tensor:
        """What one step lowers, in place of the strategy's ``objective(batch)``."""

    def score(self, task: T_contra, batch: Sequence[Tensor]) -> Tensor | None:
        """How good the model is on a validation batch, for each image or on average; None leaves it to accuracy."""
