"""How often the intervals hold the truth and the claims hold without an effect, on simulated benches.

    python experiments/statistics/coverage.py [--benches 600] [--seeds 2 3 5] [--samples 500] [--out FILE]

A simulated bench has two strategies. A model's chance to be right on a sample is the standard normal distribution
function of a mean + the sample's ease (shared by all models) + the seed's luck (a draw a model); the truth is the mean
over all seeds and samples. Luck of 0.05 to 0.15 moves accuracies by 2 to 5 points. 600 benches take four minutes, and
the cohorts of membership (cohorts.py) three more.
"""

import argparse
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import torch
from cohorts import HEAD, KINDS, SAMPLES, held
from scipy.stats import binomtest
from torch import Tensor

from tl_robust import metrics
from tl_robust.claims import Finding, decide
from tl_robust.claims.comparisons import FEWEST
from tl_robust.metrics.estimate import estimate
from tl_robust.text import effect_text
from tl_robust.types import Cell, Outcome, Result, Verdict

EASE = 1.0  # spread of samples
QUANTITIES = ("rate of one cell", "rate", "difference", "ratio", "difference of ratios")
PRIMARY, SECONDARY = ("H1", "H2"), ("H3", "H5", "H9", "H10", "H13")
JUDGED = (*PRIMARY, *SECONDARY)
ANY = ("any primary", "any secondary")
TEXT = """# How well the intervals and the claims keep what they promise

Made by `python experiments/statistics/coverage.py --benches {benches} --seeds {seeds} --samples {samples}`. A simulated
bench has two strategies, {samples} test samples that all models meet, and seeds whose luck moves accuracies by 2 to 5
points; the truth is the mean over all seeds and samples. Shares in %, with exact 95 % intervals of the simulation:
{benches} benches a row of the first table, {half} of the others.

## The rules

- The error of a mean has a part of seeds and one of samples, which all models share; Student's t with Satterthwaite's
  degrees of freedom (`metrics/estimate.py`, `crossed`).
- **No variance seen is not no variance.** 3.7 / N of all samples may be of a kind that none of N samples is of (the
  upper end of Clopper and Pearson's interval for 0 of N): the interval reaches at least as far as they could move the
  value. For samples that all speak for one of two models this is the sign test. Seeds spread by at least 0.3 points,
  and seeds that agree do not have endless degrees of freedom.
- **Two families.** H1 and H2 are primary: Holm's correction over these two. All other claims are the second family,
  with Holm's correction among themselves: 5 % each.
- **Scopes.** A claim is judged at each place, and on the mean over places with the same weight: over all, at each
  number of labels over its pairs, on each pair over its numbers of labels. Each scope has its own two families.
  Places that share test samples and seeds (two numbers of labels) are paired, others independent. A mean is undecided
  where a part says the opposite. H11 compares numbers of labels and is judged over all of them only.
- **Crossing curves.** A claim is decided by its mean over eps. It stays open where eps at which the opposite is
  beyond doubt make up a fifth or more of the area between the curves (almost stochastic dominance: Leshno and Levy,
  2002; the bound is that of Ulmer, Hardmeier and Frellsen, 2022); below that the reason names them. Before, one such
  eps was enough.
- *Not judged* is what the bench cannot tell: a strategy, view, seed or label count is missing, or a cell is red.

## Intervals that hold the truth, of those that say 95 %

`rate of one cell` speaks of the model of that seed, the others of the mean over all seeds.

{0}

With two seeds and much luck the intervals are too short, so claims are not judged with fewer than three.

## Claims that are supported where nothing is so

Both strategies are the same. A family's share (`any`) should be under 5 %; H9 has two ways to be right.

{1}

## Nothing varies

All samples and seeds agree: Scratch is always right under attack and FineTune never. H2's 95 % interval and p-value.

{3}

## Power: claims that are supported where they hold

FineTune loses so many points in the black box and gains about as many in the white one. `wild seeds`: FineTune's seeds
spread three times as much.

{2}

## Membership: intervals that hold the truth

Cohorts of pairs of models with complementary halves of {cohort} samples; {half} cohorts a row. Members score 0.5
standard deviations of single decisions more than others (2 where much is learned); how much pairs and samples differ
is in `experiments/statistics/cohorts.py`.

- The area, and all that is a mean in each pair, has an error with a part of pairs and one of samples (`crossed`). Both
  sides of a sample count, as a member and as none.
- A rate at a common threshold is drawn again over pairs and samples (Owen's pigeonhole bootstrap), and the percentiles
  are moved to the error that draws over pairs alone and over samples alone make: their product counts what neither
  explains three times. With four pairs Student's t is wide.
- The thresholds of the balanced accuracy come from the other pairs, so that pairs are not independent. Where little or
  nothing is learned its intervals are too short: judge whether something is by the area.

{4}
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
        wild: How many times as much the seeds of the second strategy spread.
    """

    clean: float
    black: tuple[float, float]
    white: tuple[float, float]
    luck: float
    wild: float = 1.0

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
        lucks[1] *= self.wild
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
                found.append(Result("", cell, outcome, {"white": white}, {}, Verdict(), {}))
    return {one.claim: one for one in decide(found) if not one.pair}


EFFECTS = {  # FineTune falls in the black box and gains in the white one by about so many points
    f"{round(100 * size)} points": World(2.0, (0.6, 0.6 - 4.5 * size), (-0.6, -0.6 + 4.5 * size), 0.1)
    for size in (0.05, 0.1, 0.2)
}
EFFECTS["20 points, wild seeds"] = replace(EFFECTS["20 points"], wild=3.0)


def still() -> str:
    """A table of what is found where nothing varies."""
    body = []
    for samples, seeds in ((1, 3), (3, 5), (5, 5), (10, 5), (100, 3), (1000, 3)):
        always = torch.ones(samples, dtype=torch.bool)
        found = []
        for strategy, right in (("scratch", always), ("finetune", ~always)):
            for seed in range(seeds):
                cell = Cell("s", "a", "b", "n", strategy, "", "none", "fgsm", "linf", "black", seed, 100)
                found.append(Result("", cell, _outcome(always, right, ~always), {}, {}, Verdict(), {}))
        h2 = next(one for one in decide(found) if one.claim == "H2")
        body.append(
            [str(samples), str(seeds), h2.decision, effect_text(h2.effect, h2.low, h2.high, h2.unit), f"{h2.p:.1g}"]
        )
    return table(["samples", "seeds", "decision", "effect [95 %]", "p"], body)


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
    for (name, world), count in product(worlds.items(), [count for count in seeds if count >= FEWEST]):
        draw, hits = torch.Generator().manual_seed(2), Counter[str]()
        for _ in range(benches):
            right = {key for key, one in ledger(world, count, samples, draw).items() if one.decision == "supported"}
            hits.update(right)
            hits.update(name for name, family in zip(ANY, (PRIMARY, SECONDARY), strict=True) if right & set(family))
        body.append([name, str(count), *(share(hits[key], benches) for key in (*JUDGED, *ANY))])
        print(*body[-1], sep="  ", flush=True)
    return table(["world", "seeds", *JUDGED, *ANY], body)


def exposed(cohorts: int) -> str:
    """A table of how often intervals of membership hold the truth."""
    body = []
    for name, kind in KINDS.items():
        found = held(kind, cohorts)
        body.append([name, str(kind.pairs), *(share(*found[key]) if found[key][1] else "-" for key in HEAD)])
        print(*body[-1], sep="  ", flush=True)
    return table(["cohorts", "pairs", *HEAD.values()], body)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--benches", type=int, default=600, help="simulated benches a row, half of it for claims")
    parser.add_argument("--seeds", type=int, nargs="+", default=[2, 3, 5], help="seeds of a bench")
    parser.add_argument("--samples", type=int, default=500, help="test samples of a bench")
    parser.add_argument("--out", type=Path, default=Path("docs/statistics.md"), help="file of the tables")
    given = parser.parse_args()
    torch.set_num_threads(1)
    rest, half = (given.seeds, given.samples), given.benches // 2
    parts = [
        covered(given.benches, *rest),
        decided(WORLDS, half, *rest),
        decided(EFFECTS, half, *rest),
        still(),
        exposed(half),
    ]
    seeds = " ".join(map(str, given.seeds))
    text = TEXT.format(*parts, benches=given.benches, half=half, samples=given.samples, seeds=seeds, cohort=SAMPLES)
    given.out.write_text(text, encoding="utf-8")
    print(f"Written: {given.out}")


if __name__ == "__main__":
    main()
