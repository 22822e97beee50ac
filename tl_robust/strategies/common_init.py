"""A and B start from the same third model."""

from typing_extensions import override

from tl_robust.strategies.base import STRATEGIES
from tl_robust.strategies.finetune import FineTune
from tl_robust.strategies.forest import D, M, Train


@STRATEGIES.register
class CommonInit(FineTune):
    """C is trained on a common domain; A (on the source) and B (on the target) are both fine-tuned from C.

    Its models are FineTune's models of other edges, so the store shares them.
    """

    needs_common = True

    @staticmethod
    @override
    def lineage(train: Train[D, M], source: D, target: D, common: D | None) -> tuple[M, M]:
        assert common is not None
        c = train(common)
        return train(source, parent=c), train(target, parent=c)
