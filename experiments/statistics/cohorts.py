"""How often the intervals of membership hold the truth, on simulated cohorts in which pairs and samples differ.

A member scores d + a draw of the pair + a draw of the sample more than others, and all scores of a sample share how
easy it is; noise is normal with standard deviation 1. The truth is that of all pairs and samples.
"""

import math
from collections import Counter
from dataclasses import dataclass, replace
from statistics import NormalDist

import torch
from torch import Tensor

from tl_robust import metrics
from tl_robust.types import Exposure

NORMAL = NormalDist()
SAMPLES = 400
START = 2.0  # how many times as far members are from others at epoch 0
LINEAGE = 0.4  # how much farther for an attacker whose shadows descend from the public model
HEAD = {
    "auc": "area", "tpr_at_1_percent": "TPR at 1 %", "tpr_at_10_percent": "TPR at 10 %",
    "balanced_accuracy": "balanced accuracy", "retention_of_source": "retention", "parent_value": "value of the parent",
}  # fmt: skip


@dataclass(frozen=True)
class Cohorts:
    """A kind of cohort.

    Attributes:
        pairs: P.
        d: How much higher members score at the last epoch.
        of_pairs: Standard deviation of d over pairs.
        of_samples: The same over samples.
        ease: Standard deviation of what all scores of a sample share.
    """

    pairs: int
    d: float
    of_pairs: float = 0.0
    of_samples: float = 0.0
    ease: float = 0.0

    def truths(self) -> dict[str, float]:
        """What metrics would be over all pairs and samples; none of a retention where nothing is learned."""
        outside = math.hypot(1, self.ease)
        inside = math.hypot(outside, self.of_pairs, self.of_samples)

        def area(d: float) -> float:
            return NORMAL.cdf(d / math.hypot(inside, outside))

        def rate(alpha: float) -> float:
            return NORMAL.cdf((self.d - outside * NORMAL.inv_cdf(1 - alpha)) / inside)

        balanced = max(
            (NORMAL.cdf(step / 1000 / outside) + NORMAL.cdf((self.d - step / 1000) / inside)) / 2
            for step in range(-3000, 6000)
        )
        left = {"retention_of_source": (area(self.d) - 0.5) / (area(START * self.d) - 0.5)} if self.d else {}
        return {
            "auc": area(self.d), "tpr_at_1_percent": rate(0.01), "tpr_at_10_percent": rate(0.1),
            "balanced_accuracy": balanced, "parent_value": area(self.d + LINEAGE) - area(self.d), **left,
        }  # fmt: skip

    def draw(self, draw: torch.Generator) -> tuple[Exposure, Exposure]:
        """One cohort at two epochs, and the same with shadows that descend from the public model."""

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=draw, dtype=torch.float64)

        models = 2 * self.pairs
        heads = torch.rand(self.pairs, SAMPLES, generator=draw) < 0.5
        member = torch.stack([heads, ~heads], 1).flatten(0, 1)
        effect = self.of_pairs * normal(self.pairs, 1).repeat_interleave(2, 0) + self.of_samples * normal(SAMPLES)
        far = torch.tensor([START * self.d, self.d], dtype=torch.float64)[:, None, None] + effect
        ease, shared = self.ease * normal(SAMPLES), normal(2, models, SAMPLES)

        def score(more: float) -> Tensor:  # both attackers see the same model: most of the noise is common
            return ease + math.sqrt(0.8) * shared + math.sqrt(0.2) * normal(2, models, SAMPLES) + (far + more) * member

        one, of_test = torch.zeros(1, dtype=torch.int64), torch.zeros(2, models, 1)
        record = Exposure(
            sample_id=torch.arange(SAMPLES), epochs=torch.tensor([0.0, 4.0], dtype=torch.float64),
            label=one.expand(SAMPLES), canary=torch.zeros(SAMPLES, dtype=torch.bool), member=member, score=score(0),
            right=torch.zeros(2, models, SAMPLES, dtype=torch.bool), null_member=torch.zeros(models, 1).bool(),
            null_score=of_test.double(), test_right=of_test.bool(), shadow_right=of_test.bool(), shadows=one[0],
            claim=torch.zeros(2, dtype=torch.float64),
        )  # fmt: skip
        return record, replace(record, score=score(LINEAGE))


KINDS = {
    "nothing learned": Cohorts(4, 0.0),
    "nothing learned, some samples easy": Cohorts(12, 0.0, ease=1.0),
    "single decisions vary": Cohorts(12, 0.5),
    "samples differ": Cohorts(12, 0.5, of_samples=0.7),
    "pairs and samples differ": Cohorts(12, 0.5, 0.2, 0.7, 0.7),
    "the same": Cohorts(4, 0.5, 0.2, 0.7, 0.7),
    "much learned": Cohorts(12, 2.0, 0.2, 0.7, 0.5),
}


def held(kind: Cohorts, cohorts: int) -> dict[str, tuple[int, int]]:
    """How many intervals hold the truth, and how many there are, by metric."""
    draw, truths = torch.Generator().manual_seed(3), kind.truths()
    hits, of = Counter[str](), Counter[str]()
    for _ in range(cohorts):
        record, lineage = kind.draw(draw)
        for name, truth in truths.items():
            curve = metrics.get(name).curve(record, lineage if name == "parent_value" else None)
            if not curve.value[1].isnan():
                of[name] += 1
                hits[name] += bool(curve.low[1] <= truth <= curve.high[1])
    return {name: (hits[name], of[name]) for name in HEAD}
