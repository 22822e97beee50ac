"""How often the audit guesses right."""

import torch
from torch import Tensor

from tl_robust.metrics.one_run import GUESSED, Audit, coins
from tl_robust.metrics.pairs import over_pairs
from tl_robust.types import Exposure


def _guessed(value: Tensor) -> tuple[Tensor, Tensor]:
    """A sample whose coins are guessed, where most are not: wrong, and right; of canaries, more are, it is less."""
    return value / (2 * GUESSED), (1 - value) / (2 * GUESSED)


@over_pairs(room=_guessed, higher_is_better=False, count=lambda record: len(coins(record)))
def guesses_right(record: Exposure) -> Tensor:
    """Share of right guesses about the coins that the audit guesses: those with the highest and the lowest scores.

    Half is chance. The guesses are those of ``epsilon_bound``. What a sample adds to this ratio is linear.

    Source: ours, from the audit of Steinke, Nasr and Jagielski (2023).
    """
    audit, places = Audit.of(record), coins(record)
    right, guessed = (
        (kind[:, 0::2, places].double() + kind[:, 1::2, places]).transpose(0, 1)
        for kind in (audit.correct, audit.guessed)
    )
    share, many = right.mean(-1, keepdim=True) / guessed.mean(-1, keepdim=True), guessed.mean(-1, keepdim=True)
    columns = share + (right - share * guessed) / many
    return columns.masked_fill(~audit.known.all(1)[:, None], torch.nan)
