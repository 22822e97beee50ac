"""The forest in which a lineage names trainings, as a strategy sees it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, TypeVar

from tl_robust.registry import Component

D_contra = TypeVar("D_contra", contravariant=True)
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
        others: Mapping[str, M] | None = None,
    ) -> M:
        """The model that this training gives.

        Args:
            domain: What is learned.
            parent: The training whose weights it starts from.
            by: The strategy whose hooks train it. A component (``train.own``, ``STRATEGIES.component(name, settings)``)
                brings its settings, at a root as well. A name has the settings of the cell's strategy where there is a
                parent and none at a root. Unless said, ``scratch`` without a parent and ``finetune`` with one.
            defense: The defense whose hooks join in this training.
            salt: Tells apart what is drawn again: another text gives the same training with other random draws.
            others: Models that a defense asks in its loss, by name; they are made before.
        """

    def published(self, name: str) -> M:
        """The checkpoint ``checkpoint:NAME`` of the bench, which others trained.

        Raises:
            UnknownNameError: There is none.
        """
