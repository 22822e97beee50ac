"""Two independent models."""

from tl_robust.strategies.base import STRATEGIES, D, M, Train, TransferTask


@STRATEGIES.register
class Scratch(TransferTask):
    """A is trained on the source, B on the target, each from random weights. Everything is trained."""

    @staticmethod
    def lineage(train: Train[D, M], source: D, target: D, common: D | None) -> tuple[M, M]:
        """See :meth:`TransferTask.lineage`."""
        return train(source), train(target)
