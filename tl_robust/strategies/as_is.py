"""Models as they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn
from typing_extensions import override

from tl_robust.strategies.base import STRATEGIES, TransferTask
from tl_robust.strategies.forest import D, M, Train
from tl_robust.types import Recipe


@STRATEGIES.register
class AsIs(TransferTask):
    """B is A itself, so that an audit attacks a model, for example a public one, as whoever downloads it has it.

    Or B is a checkpoint, too, for example what its owner made of A: then both are audited, and nothing is trained.

    Args:
        network: See :class:`TransferTask`.
        recipe: The same.
        classes: Number of logits.
        victim: ``checkpoint:NAME``, an entry of ``checkpoints:`` with the target's classes; empty: A.
    """

    def __init__(
        self, network: nn.Module | Mapping[str, Any], recipe: Recipe | Mapping[str, Any], classes: int, victim: str = ""
    ) -> None:
        super().__init__(network, recipe, classes)
        self.victim = victim

    @staticmethod
    @override
    def lineage(train: Train[D, M], source: D, target: D, common: D | None) -> tuple[M, M]:
        a = train(source)
        victim = dict(train.own.settings).get("victim")
        return a, train.published(str(victim)) if victim else a
