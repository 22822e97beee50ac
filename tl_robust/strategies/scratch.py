"""Two independent models."""

from typing_extensions import override

from tl_robust.strategies.base import STRATEGIES, TransferTask
from tl_robust.strategies.forest import D, M, Train


@STRATEGIES.register
class Scratch(TransferTask):
    """A is trained on the source, B on the target, each from random weights. Everything is trained."""

    @staticmethod
    @override
    def lineage(train: Train[D, M], source: D, target: D, common: D | None) -> tuple[M, M]:
        return train(source), train(target)
