"""B starts from A."""

from collections.abc import Mapping

from torch import Tensor

from tl_robust.models import copy_fitting
from tl_robust.strategies.base import STRATEGIES, D, M, Train, TransferTask


@STRATEGIES.register
class FineTune(TransferTask):
    """A is trained on the source; B starts from A's weights and is trained on the target.

    Every tensor whose shape fits is copied, BatchNorm statistics and, for equal label sets, the classifier included;
    everything is trained: BatchNorm goes on from the parent's statistics and dropout is on, as in the paper's code.
    """

    @staticmethod
    def lineage(train: Train[D, M], source: D, target: D, common: D | None) -> tuple[M, M]:
        """See :meth:`TransferTask.lineage`."""
        a = train(source)
        return a, train(target, parent=a)

    def initialize(self, parent: Mapping[str, Tensor] | None) -> None:
        """Copy what fits from the parent."""
        if parent is not None:
            copy_fitting(parent, self.network)
