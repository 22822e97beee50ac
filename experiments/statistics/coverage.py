"""How often the intervals hold the truth and the claims hold without an effect, on simulated benches.

    python experiments/statistics/coverage.py [--benches 2000] [--seeds 2 3 5] [--samples 500] [--out FILE]

A simulated bench has two strategies. A model's chance to be right on a sample is the standard normal distribution
function of a mean + the sample's ease (shared by all models) + the seed's luck (a draw a model); the truth is the mean
over all seeds and samples. Luck of 0.05 to 0.15 moves accuracies by 2 to 5 points. 2,000 benches take half an hour.
"""

import argparse
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import torch
from scipy.stats import binomtest
from torch import Tensor

from tl_robust import metrics
from tl_robust.claims import Finding, judge
from tl_robust.metrics.estimate import estimate
from tl_robust.types import Cell, Outcome, Result, Verdict

EASE = 1.0  # spread of samples
QUANTITIES = ("rate of one cell", "rate", "difference", "ratio", "difference of ratios")
JUDGED = ("H1", "H2", "H3", "H5", "H9", "H10")
TEXT = """# How well the intervals and the claims keep what they promise

Made by `python experiments/statistics/coverage.py --benches {benches} --seeds {seeds} --samples {samples}`. A simulated
bench has two strategies, {samples} test samples that all models meet, and seeds whose luck moves accuracies by 2 to 5
points; the truth is the mean over all seeds and samples. Shares in %, with exact 95 % intervals of the simulation.

## Intervals that hold the truth, of those that say 95 %

`rate of one cell` speaks of the model of that seed, the others of the mean over all seeds.

{0}

With two seeds and much luck the intervals are too short: take three or more. Where luck is small, and seeds cannot tell
it from noise, those of ratios are a little long.

## Claims that are supported where nothing is so

Both strategies are the same. Each claim's share should be under 5 %; H9 has two ways to be right.

{1}

## Power: claims that are supported where they hold

FineTune loses so many points in the black box and gains about as many in the white one.

{2}
"""


def normal_cdf(x: Tensor) -> Tensor:
    return torch.special.ndtr(x)


@dataclass(frozen=True)
class World:
    """Two strategies; each mean is on the scale of the normal distribution function.

    Attributes:
        clean: Mean of clean images.
        black: Means under black-box examples, of both strategies.
        white: Means under white-box examples, of both.
        luck: Spread of seeds.
    """

    clean: float
    black: tuple[float, float]
    white: tuple[float, float]
    luck: float

    def truth(self, mean: float) -> float:
        """Accuracy over all seeds and samples."""
        return float(normal_cdf(torch.tensor(mean / math.sqrt(1 + EASE**2 + self.luck**2), dtype=torch.float64)))

    def transfer(self, place: int) -> float:
        """Transfer ratio of the mean accuracies, of one strategy."""
        clean = self.truth(self.clean)
        return (clean - self.truth(self.black[place])) / (clean - self.truth(self.white[place]))

    def bench(self, seeds: int, samples: int, draw: torch.Generator) -> list[list[tuple[Outcome, Outcome]]]:
        """Of both strategies, black and white outcomes of each seed; right after the attack only if right before."""
        ease = EASE * torch.randn(samples, generator=draw, dtype=torch.float64)
        lucks = self.luck * torch.randn(2, seeds, 1, generator=draw, dtype=torch.float64)
        return [[self.seed(place, ease, luck, draw) for luck in lucks[place]] for place in range(2)]

    def seed(self, place: int, ease: Tensor, luck: Tensor, draw: torch.Generator) -> tuple[Outcome, Outcome]:
        """Black and white outcome of one model."""
        mood = torch.randn(len(ease), generator=draw, dtype=torch.float64)
        clean, black, white = (
            mean + ease + luck + mood > 0 for mean in (self.clean, self.black[place], self.white[place])
        )
        return _outcome(clean, black, white), _outcome(clean, white, white)


def _outcome(clean: Tensor, right: Tensor, right_a: Tensor) -> Outcome:
    label = torch.zeros(len(clean), dtype=torch.int64)
    adv, adv_a = (torch.stack([~clean, ~(clean & kept)]).long() for kept in (right, right_a))
    size, flag = torch.zeros(2, len(clean)), torch.zeros(len(clean), dtype=torch.bool)
    eps = torch.tensor([0.0, 0.1], dtype=torch.float64)
    return Outcome(
        torch.arange(len(clean)), label, adv[0], adv[0], adv_a, adv, size, eps, flag, torch.ones_like(adv).bool(), ~flag
    )


WORLDS = {
    "middle, little luck": World(2.0, (0.6, 0.6), (-0.6, -0.6), 0.05),
    "middle, much luck": World(2.0, (0.6, 0.6), (-0.6, -0.6), 0.15),
    "high and low": World(3.0, (2.2, 2.2), (-2.2, -2.2), 0.1),
}


def intervals(world: World, seeds: int, samples: int, draw: torch.Generator) -> dict[str, tuple[float, float, float]]:
    """Truth and ends of the interval, by quantity."""
    luck = world.luck * torch.randn(1, generator=draw, dtype=torch.float64)
    first, second = world.bench(seeds, samples, draw)
    accuracy, transfer = metrics.get("robust_accuracy"), metrics.get("transfer_ratio")
    one = accuracy.curve(world.seed(0, EASE * torch.randn(samples, generator=draw, dtype=torch.float64), luck, draw)[0])
    chance = float(normal_cdf((world.black[0] + luck) / math.sqrt(1 + EASE**2)))
    found = {"rate of one cell": (chance, float(one.low[1]), float(one.high[1]))}
    curve = accuracy.mean_curve([(black, None) for black, _ in first])
    found["rate"] = (world.truth(world.black[0]), float(curve.low[1]), float(curve.high[1]))
    gap = estimate(accuracy.draws([(b, None) for b, _ in first]) - accuracy.draws([(b, None) for b, _ in second]))
    low, high = gap.interval()
    found["difference"] = (world.truth(world.black[0]) - world.truth(world.black[1]), float(low[1]), float(high[1]))
    curve = transfer.mean_curve(first)
    found["ratio"] = (world.transfer(0), float(curve.low[1]), float(curve.high[1]))
    gap = estimate(transfer.draws(first) - transfer.draws(second))
    low, high = gap.interval()
    found["difference of ratios"] = (world.transfer(0) - world.transfer(1), float(low[1]), float(high[1]))
    return found


def ledger(world: World, seeds: int, samples: int, draw: torch.Generator) -> dict[str, Finding]:
    """The claims on a simulated bench of Scratch and FineTune."""
    found = []
    for strategy, pairs in zip(("scratch", "finetune"), world.bench(seeds, samples, draw), strict=True):
        for seed, (black, white) in enumerate(pairs):
            for view, outcome in (("black", black), ("white", white)):
                cell = Cell("s", "a", "b", "n", strategy, "", "none", "fgsm", "linf", view, seed, 100)
                found.append(Result("", cell, outcome, white, {}, Verdict(), {}))
    return {one.claim: one for one in judge(found) if not one.pair}


EFFECTS = {  # FineTune falls in the black box and gains in the white one by about so many points
    f"{round(100 * size)} points": World(2.0, (0.6, 0.6 - 4.5 * size), (-0.6, -0.6 + 4.5 * size), 0.1)
    for size in (0.05, 0.1, 0.2)
}


def share(count: int, of: int) -> str:
    ends = binomtest(count, of).proportion_ci()
    return f"{100 * count / of:.1f} [{100 * ends.low:.1f}, {100 * ends.high:.1f}]"


def table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, ["---"] * len(head), *body])


def covered(benches: int, seeds: Sequence[int], samples: int) -> str:
    """A table of how often intervals hold the truth."""
    body = []
    for (name, world), count in product(WORLDS.items(), seeds):
        draw, hits = torch.Generator().manual_seed(1), Counter[str]()
        for _ in range(benches):
            found = intervals(world, count, samples, draw)
            hits.update(key for key, (truth, low, high) in found.items() if low <= truth <= high)
        body.append([name, str(count), *(share(hits[key], benches) for key in QUANTITIES)])
        print(*body[-1], sep="  ", flush=True)
    return table(["world", "seeds", *QUANTITIES], body)


def decided(worlds: dict[str, World], benches: int, seeds: Sequence[int], samples: int) -> str:
    """A table of how often claims are supported."""
    body = []
    for (name, world), count in product(worlds.items(), seeds):
        draw, hits = torch.Generator().manual_seed(2), Counter[str]()
        for _ in range(benches):
            hits.update(key for key, one in ledger(world, count, samples, draw).items() if one.decision == "supported")
        body.append([name, str(count), *(share(hits[key], benches) for key in JUDGED)])
        print(*body[-1], sep="  ", flush=True)
    return table(["world", "seeds", *JUDGED], body)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--benches", type=int, default=2000, help="simulated benches a row")
    parser.add_argument("--seeds", type=int, nargs="+", default=[2, 3, 5], help="seeds of a bench")
    parser.add_argument("--samples", type=int, default=500, help="test samples of a bench")
    parser.add_argument("--out", type=Path, default=Path("docs/statistics.md"), help="file of the tables")
    given = parser.parse_args()
    torch.set_num_threads(1)
    rest = given.benches, given.seeds, given.samples
    parts = [covered(*rest), decided(WORLDS, *rest), decided(EFFECTS, *rest)]
    text = TEXT.format(*parts, benches=given.benches, samples=given.samples, seeds=" ".join(map(str, given.seeds)))
    given.out.write_text(text, encoding="utf-8")
    print(f"Written: {given.out}")


if __name__ == "__main__":
    main()
