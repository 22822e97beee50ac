"""How often a leaderboard's ranks are wrong, and how often they tell rows apart, by simulation.

python experiments/statistics/ranks.py [BOARDS]: the table of docs/leaderboard.md.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import torch

from tl_robust.metrics.estimate import Draws, Estimate, estimate, korn_graubard
from tl_robust.results.ranking import Contender, ranks

WORLDS = {
    "five alike": [0.6] * 5,
    "three alike, two worse": [0.6, 0.6, 0.6, 0.45, 0.45],
    "all differ": [0.8, 0.7, 0.6, 0.5, 0.4],
}
SAMPLES, LUCK = 500, 0.02  # test images; standard deviation of accuracy over seeds


def rows(chances: Sequence[float], seeds: int, paired: bool, draw: torch.Generator) -> list[Contender]:
    """Rows of one board: accuracies over seeds on the same images, some of which are hard for all."""
    ease, found = 0.25 * torch.randn(SAMPLES, generator=draw), []
    for chance in chances:
        luck = LUCK * torch.randn(seeds, 1, generator=draw)
        right = (torch.rand(seeds, SAMPLES, generator=draw) < chance + luck + ease).double()
        draws = Draws.of(right[:, None], lambda means: means, torch.tensor([[0.0], [1.0]], dtype=torch.float64))
        mean: Estimate = estimate(draws, floors=False)
        low, high = korn_graubard(mean, torch.tensor([SAMPLES]))
        ends = float(mean.value), float(low), float(high)
        found.append(Contender(*ends, seeds, draws if paired else None, "same images"))
    return found


def true_chances(chances: Sequence[float]) -> list[float]:
    """The mean accuracy of each over all images, which clipping to [0,1] moves a little."""
    ease = 0.25 * torch.randn(1_000_000, generator=torch.Generator().manual_seed(0))
    return [float((chance + ease).clamp(0, 1).mean()) for chance in chances]


def main(boards: int) -> None:
    """Print the table."""
    print("| rows | seeds | compared by | boards with a wrong rank | rows told from another |")
    print("|---|---|---|---|---|")
    for (name, chances), seeds, paired in (
        (world, seeds, paired) for world in WORLDS.items() for seeds in (3, 5) for paired in (True, False)
    ):
        truth = true_chances(chances)
        best = [1 + sum(other > own + 1e-9 for other in truth) for own in truth]
        worst = [len(truth) - sum(other < own - 1e-9 for other in truth) for own in truth]
        draw = torch.Generator().manual_seed(seeds)
        wrong = told = 0
        for _ in range(boards):
            found = ranks(rows(chances, seeds, paired, draw), True)
            told += sum(rank.told for rank in found)
            wrong += any(
                rank.first > first or rank.last < last for rank, first, last in zip(found, best, worst, strict=True)
            )
        share, power = wrong / boards, told / boards / len(truth)
        print(f"| {name} | {seeds} | {'samples' if paired else 'intervals'} | {share:.1%} | {power:.0%} |", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 500)
