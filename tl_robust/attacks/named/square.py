"""Random search with square changes; needs no gradient."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import pad
from typing_extensions import override

from tl_robust.attacks.base import ATTACKS, Attack
from tl_robust.attacks.cascade import Attempt, cascade
from tl_robust.attacks.norms import per_sample
from tl_robust.attacks.problem import Problem
from tl_robust.errors import ConfigError
from tl_robust.types.terms import ATLAS, NIST, Terms


@ATTACKS.register
@dataclass(frozen=True)
class Square(Attack):
    """Changes in squares at random places, kept where the margin grows; the squares shrink with the queries.

    Andriushchenko, Croce, Flammarion, Hein, "Square attack: a query-efficient black-box adversarial attack via random
    search", ECCV 2020: algorithms 1 to 3, the start and the schedule of section 3, stretched to the number of queries.
    Places are drawn for each sample and reach the last row and column. For ``l2`` each start tile is a fifth of a side.

    The objective is the margin and no other. In transfer every sample gets all queries. In white-box mode a sample is
    done at the first images that fool the model, and at the next eps the search goes on from the scaled images of the
    last, where these are better than a new start.

    Attributes:
        queries: Number of images the model is asked about, per restart, at least 1. The schedule is that of 10,000.
        p_init: Share of pixels in the first square, above 0 and at most 1.
        restarts: Number of searches; of each sample the one with the largest margin counts.
    """

    TERMS: ClassVar[Terms] = {NIST: "evasion, score-based attack", ATLAS: "AML.T0043.001"}

    objective: str = "margin"
    queries: int = 5000
    p_init: float = 0.8
    restarts: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, good, expected in (
            ("norm", self.norm in _MOVES, "linf or l2"),
            ("objective", self.objective == "margin", "margin, which alone it compares"),
            ("queries", self.queries >= 1, "at least 1"),
            ("p_init", 0 < self.p_init <= 1, "above 0 and at most 1 (a share of the pixels)"),
            ("restarts", self.restarts >= 1, "at least 1"),
        ):
            if not good:
                raise ConfigError(f"{name} of attack 'square' must be {expected}, got {getattr(self, name)}.")

    @override
    def perturb(self, problem: Problem, eps: list[float]) -> Iterator[Tensor]:
        searches: list[Attempt] = [partial(self.search, number=number) for number in range(self.restarts)]
        yield from cascade(problem, eps, searches, enough=0.0 if problem.early else torch.inf)

    @torch.no_grad()
    def search(self, problem: Problem, eps: float, before: Tensor, number: int = 0) -> Tensor:
        """The images after all queries; in white-box mode the first that fool the model.

        Args:
            problem: The batch.
            eps: Size of the ball.
            before: Images ``[N,C,H,W]`` of earlier attempts: the first search starts from these, scaled to ``eps``,
                where they are better than its own start. It costs one query more.
            number: Of the restart.
        """
        problem = problem.restarted(number)
        start, move = _MOVES[self.norm]
        images = start(problem, eps)
        margin = problem.margin(images)
        if number == 0 and not torch.equal(before, problem.clean):
            images, margin = _better(problem, images, margin, _scaled(problem, before, eps))
        kept, place = images.clone(), torch.arange(len(images), device=images.device)
        for query in range(1, self.queries):
            if problem.early and bool((fooled := margin > 0).any()):
                kept[place] = images
                left = (~fooled).nonzero().squeeze(1)
                if not len(left):
                    return kept
                problem, images, margin, place = problem.take(left), images[left], margin[left], place[left]
            side = self.side(query, images.shape)
            images, margin = _better(problem, images, margin, move(problem, images, eps, side, query))
        kept[place] = images
        return kept

    def side(self, query: int, shape: torch.Size) -> int:
        """Side of the square at a query, in pixels, for images ``[N,C,H,W]``: odd and at least 3 for ``l2``."""
        height, width = shape[-2:]
        share = self.p_init / 2 ** sum(query * 10000 // self.queries > end for end in _HALVINGS)
        side = round(math.sqrt(share * height * width))
        if self.norm == "l2":
            side = max(side, 3) | 1
            return min(side, (min(height, width) - 1) | 1)
        return min(max(side, 1), height, width)


_HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)


def _better(problem: Problem, images: Tensor, margin: Tensor, candidate: Tensor) -> tuple[Tensor, Tensor]:
    """The images of larger margin of each sample, and that margin."""
    other = problem.margin(candidate)
    return torch.where(per_sample(other > margin, images), candidate, images), torch.maximum(other, margin)


def _scaled(problem: Problem, images: Tensor, eps: float) -> Tensor:
    """Images whose change is scaled to ``eps``; clean ones stay."""
    delta = images - problem.clean
    size = problem.norm.size(delta)
    return problem.clip(problem.clean + delta * per_sample(torch.where(size > 0, eps / size, 0.0), delta), eps)


def _signs(draw: Tensor) -> Tensor:
    return torch.where(draw < 0.5, -1.0, 1.0).to(draw)


def _offsets(draw: Tensor, side: int, length: int) -> Tensor:
    """Place of every row in a window of random place, ``[N,length]``; in the window it is 0 to ``side`` - 1."""
    corner = (draw * (length - side + 1)).long().clamp(max=length - side)
    return torch.arange(length, device=draw.device) - corner[:, None]


def _window(draw: Tensor, side: int, shape: torch.Size) -> tuple[Tensor, Tensor, Tensor]:
    """Window bool ``[N,1,H,W]`` and the places of rows ``[N,H]`` and columns ``[N,W]`` in it, from draws ``[N,2]``."""
    rows, columns = (_offsets(draw[:, axis], side, shape[2 + axis]) for axis in (0, 1))
    inside = [(places >= 0) & (places < side) for places in (rows, columns)]
    return (inside[0][:, :, None] & inside[1][:, None, :])[:, None], rows.clamp(0, side - 1), columns.clamp(0, side - 1)


def _stripes(problem: Problem, eps: float) -> Tensor:
    """Vertical stripes of one pixel, of random sign in each channel."""
    _, channels, _, width = problem.clean.shape
    return (problem.clean + eps * _signs(problem.uniform((channels, 1, width), "square", 0))).clamp(0, 1)


def _recolor(problem: Problem, images: Tensor, eps: float, side: int, query: int) -> Tensor:
    """One square gets a change of plus or minus eps in each channel, other than it has (algorithm 2)."""
    channels = images.shape[1]
    draw = problem.uniform((channels + 3,), "square", query)
    window, _, _ = _window(draw, side, images.shape)
    signs = _signs(draw[:, 3:])

    def painted(signs: Tensor) -> Tensor:
        return torch.where(window, (problem.clean + eps * signs[:, :, None, None]).clamp(0, 1), images)

    candidate = painted(signs)
    same = (candidate == images).flatten(1).all(1)
    if not bool(same.any()):
        return candidate
    # A square of the same color would be no change: the draw is among the others, so at least one channel turns.
    pattern = 1 + (draw[:, 2] * (2**channels - 1)).long().clamp(max=2**channels - 2)
    turn = (pattern[:, None] >> torch.arange(channels, device=images.device)) & 1
    return painted(torch.where(same[:, None] & (turn == 1), -signs, signs))


def _bump(height: int, width: int) -> Tensor:
    """Sum of centered rectangles of falling weight, of length 1, ``[height,width]`` (section 3.3, equation 2)."""
    bump = torch.zeros(height, width, dtype=torch.float64)
    row, column = height // 2, width // 2
    for ring in range(max(row, column) + 1):
        bump[max(row - ring, 0) : row + ring + 1, max(column - ring, 0) : column + ring + 1] += 1 / (ring + 1) ** 2
    return bump / bump.norm()


def _pattern(side: int, like: Tensor) -> Tensor:
    """The change of one square, of length 1, and the same turned, ``[2,side,side]``: a bump up beside a bump down."""
    halves = [_bump(side // 2, side)] if side > 1 else []
    pattern = torch.cat([*halves, -_bump(side - side // 2, side)])
    pattern = pattern / pattern.norm()
    return torch.stack([pattern, pattern.T]).to(like)


def _length(delta: Tensor) -> Tensor:
    """Length in each channel, ``[N,C,1,1]``."""
    return delta.square().sum(dim=(2, 3), keepdim=True).sqrt()


def _to_sphere(problem: Problem, delta: Tensor, eps: float) -> Tensor:
    size = problem.norm.size(delta).clamp(min=torch.finfo(delta.dtype).tiny)
    return (problem.clean + delta * per_sample(eps / size, delta)).clamp(0, 1)


def _tiles(problem: Problem, eps: float) -> Tensor:
    """Tiles of a fifth of a side, each with a pattern of random sign in each channel and of random turn."""
    _, channels, height, width = problem.clean.shape
    side = max(min(height, width) // 5, 1)
    down, across = height // side, width // side
    draw = problem.uniform((channels + 1, down, across), "square", 0)
    signs, turned = (
        part.repeat_interleave(side, 2).repeat_interleave(side, 3) for part in (_signs(draw[:, :-1]), draw[:, -1:])
    )
    straight, crossed = _pattern(side, problem.clean).repeat(1, down, across)
    delta = signs * torch.where(turned < 0.5, crossed, straight)
    left, top = (width - across * side) // 2, (height - down * side) // 2
    delta = pad(delta, (left, width - across * side - left, top, height - down * side - top))
    return _to_sphere(problem, delta, eps)


def _shift_mass(problem: Problem, images: Tensor, eps: float, side: int, query: int) -> Tensor:
    """The change in one square, and what clipping has left unused, goes into a new pattern in another (algorithm 3)."""
    delta = images - problem.clean
    count, channels = images.shape[:2]
    draw = problem.uniform((channels + 5,), "square", query)
    window, rows, columns = _window(draw, side, images.shape)
    source, _, _ = _window(draw[:, 2:], side, images.shape)
    turned = (draw[:, 4] < 0.5).long()
    pattern = _pattern(side, images)[turned[:, None, None], rows[:, :, None], columns[:, None, :]].view(
        count, 1, *images.shape[2:]
    )
    old = delta * window
    new = window * pattern * _signs(draw[:, 5:])[:, :, None, None] + old / (_length(old) + 1e-10)
    unused = (eps**2 - problem.norm.size(delta).square()).clamp(min=0) / channels
    mass = (per_sample(unused, images) + _length(delta * (window | source)).square()).sqrt()
    new = new / _length(new).clamp(min=torch.finfo(new.dtype).tiny) * mass
    return _to_sphere(problem, torch.where(window, new, delta * ~source), eps)


_MOVES: dict[str, tuple[Callable[[Problem, float], Tensor], Callable[[Problem, Tensor, float, int, int], Tensor]]] = {
    "linf": (_stripes, _recolor),
    "l2": (_tiles, _shift_mass),
}
