"""A model as it is."""

from typing_extensions import override

from tl_robust.strategies.base import STRATEGIES, TransferTask
from tl_robust.strategies.forest import D, M, Train


@STRATEGIES.register
class AsIs(TransferTask):
    """B is A itself, so that an audit attacks a model, for example a public one, as whoever downloads it has it."""

    @staticmethod
    @override
    def lineage(train: Train[D, M], source: D, target: D, common: D | None) -> tuple[M, M]:
        a = train(source)
        return a, a
