"""A little of another image mixed in."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from typing_extensions import override

from tl_robust.attacks.problem import Problem
from tl_robust.attacks.tricks.base import TRICKS, Query, Trick, over_copies, pick
from tl_robust.errors import ConfigError


@TRICKS.register
@dataclass(frozen=True)
class Admix(Trick):
    """The mean gradient over copies to each of which a share of another image is added; the label stays.

    Wang et al., "Admix: enhancing the transferability of adversarial attacks", ICCV 2021, algorithm 1 (there
    ``scale`` follows). The other images are drawn from a pool, not from the batch at hand as in their code, so that
    a result is free of its batch; like there, they may be of the same class.

    Attributes:
        copies: Number of images that are mixed in, one a copy, at least 1; the paper takes 3.
        share: How much of them is added, above 0 and at most 1; the paper takes 0.2.
    """

    POOL: ClassVar[bool] = True
    COPIES: ClassVar[bool] = True
    copies: int = 3
    share: float = 0.2

    def __post_init__(self) -> None:
        self.require(self.copies >= 1 and 0 < self.share <= 1, "copies of at least 1 and share above 0 and at most 1")

    @override
    def wrap(self, query: Query, eps: float) -> Query:
        return over_copies(self.copies, self._mixed, query)

    def _mixed(self, problem: Problem, images: Tensor, number: int) -> Tensor:
        pool = problem.fitted
        if not isinstance(pool, Tensor) or not len(pool) or pool.shape[1:] != images.shape[1:]:
            got = list(pool.shape) if isinstance(pool, Tensor) else type(pool).__name__
            raise ConfigError(f"trick 'admix' needs a pool of images {['M', *images.shape[1:]]}, got {got}.")
        return images + self.share * pool[pick(problem, len(pool), "admix", number)]
