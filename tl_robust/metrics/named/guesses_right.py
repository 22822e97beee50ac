"""How often the audit guesses right."""

import torch
from torch import Tensor

from tl_robust.metrics.one_run import Audit
from tl_robust.metrics.pairs import over_pairs
from tl_robust.types import Exposure


def _share(means: Tensor, x: Tensor) -> Tensor:
    right, guessed = means.chunk(2, dim=-1)
    return right / guessed


def _kinds(k: int) -> Tensor:
    return torch.tensor([[2.0] * 2 * k, [0.0] * k + [2.0] * k], dtype=torch.float64)


@over_pairs(kinds=_kinds, formula=_share, higher_is_better=False)
def guesses_right(record: Exposure) -> Tensor:
    """Share of right guesses about the coins that the audit guesses: those with the highest and the lowest scores.

    Half is chance. The guesses are those of ``epsilon_bound``.
    """
    audit = Audit.of(record)
    columns = []
    for kind in (audit.correct, audit.guessed):
        counted = kind.double().masked_fill(~audit.known[..., None], torch.nan)
        columns.append((counted[:, 0::2] + counted[:, 1::2]).transpose(0, 1))
    return torch.cat(columns, 1)
