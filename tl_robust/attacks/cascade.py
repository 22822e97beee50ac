"""Several attempts in turn, each on the samples that still stand."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from tl_robust.attacks.problem import Problem

Attempt = Callable[[Problem, float, Tensor], Tensor]
"""Images within eps, from a problem, eps and the best images of earlier attempts, at first the clean ones."""


def cascade(problem: Problem, eps: list[float], attempts: list[Attempt], enough: float = 0.0) -> Iterator[Tensor]:
    """For each eps the images of largest margin of several attempts, each made on those still standing.

    In white-box mode an image that fools the model serves every larger eps, and clean images that fool it are done from
    the outset; in transfer every eps is a new one.

    Args:
        problem: The batch.
        eps: Ascending sizes.
        attempts: Made in this order.
        enough: A sample is done above this margin.

    Yields:
        ``[N,C,H,W]``.
    """
    best = problem.clean.clone()
    # The margins of a model of any precision fit into float64, so that none is rounded to another's.
    margin = torch.full((len(best),), -torch.inf, dtype=torch.float64, device=best.device)
    if problem.early:
        margin = problem.margin(best).to(margin)
    for size in eps:
        if not problem.early:
            best, margin = problem.clean.clone(), torch.full_like(margin, -torch.inf)
        for attempt in attempts:
            standing = (~(margin > enough)).nonzero().squeeze(1)
            if not len(standing):
                break
            rest = problem.take(standing)
            images = attempt(rest, size, best[standing])
            margins = rest.margin(images)
            better = margins > margin[standing]
            best[standing[better]], margin[standing[better]] = images[better], margins[better].to(margin)
        yield best.clone()
