"""How often alarms of a backdoor go off at clean models, and how well they tell poisoned ones from clean ones.

For each seed a parent learns the source, a clean child and a poisoned one are fine-tuned from it on the target, and
both are audited: with their parent, three parents of other seeds as decoys, 200 test images and what they learned from.

    python experiments/statistics/alarms.py --seeds 20 [--pair rendered_syn-optdigits] [--rate 0.1]
"""

import argparse
import copy
import time
from collections import defaultdict
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import cross_entropy

import tl_robust
from tl_robust import backdoors, models
from tl_robust.audit.numbers import ALARM, INDEX, RATIO, STAMPED
from tl_robust.auditor.alarms import alarms
from tl_robust.auditor.subject import ReadModel, Subject
from tl_robust.defenses.activation_clusters import ActivationClusters
from tl_robust.metrics.estimate import clopper_pearson
from tl_robust.types import ImageSet

DECOYS = 3


@dataclass(frozen=True)
class Lineage:
    """What one seed makes.

    Attributes:
        parent: Learned the source.
        clean: Learned the target.
        poisoned: Learned the target with stamped images in it.
        train: What ``poisoned`` learned from.
        success: How often a stamped test image is called the class of the trigger.
    """

    parent: nn.Module
    clean: nn.Module
    poisoned: nn.Module
    train: ImageSet
    success: float


def trained(network: nn.Module, data: ImageSet, epochs: int, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    steps = torch.optim.SGD(network.train().parameters(), lr=0.01, momentum=0.9)
    for _ in range(epochs):
        for batch in torch.randperm(len(data)).split(64):
            loss = cross_entropy(network(data.images[batch].float() / 255), data.labels[batch])
            steps.zero_grad()
            loss.backward()
            steps.step()
    return network.eval()


def lineage(pair: str, seed: int, rate: float) -> Lineage:
    domains = tl_robust.pair(pair, space="digits")
    source, target = (domains.side(role).images("train") for role in ("source", "target"))
    test = domains.side("target").images("test")
    torch.manual_seed(seed)
    parent = trained(models.get("dtn", (3, 32, 32), 10, width=0.25), source, 8, seed)
    trigger, t = backdoors.get("patch", rate=rate), seed % 10
    train = trigger.poison(target, t, seed, {}).images
    clean, poisoned = (trained(copy.deepcopy(parent), data, 10, seed) for data in (target, train))
    others = test.take((test.labels != t).nonzero()[:, 0])
    stamped = trigger.stamp(others.images, torch.arange(len(others)), {})
    with torch.no_grad():
        success = float((poisoned(stamped.float() / 255).argmax(1) == t).float().mean())
    return Lineage(parent, clean, poisoned, train, success)


def clusters(network: nn.Module, train: ImageSet) -> bool:
    defense = ActivationClusters()
    return bool((defense.scores(train, {defense.asks[0]: network}) > 0).any())


def share(hits: int, of: int) -> str:
    low, high = (100 * float(end) for end in clopper_pearson(*torch.tensor([[hits], [of]], dtype=torch.float64)))
    return f"{hits} of {of} [{low:.0f}, {high:.0f} %]"


def auroc(high: list[float], low: list[float]) -> float:
    above, below = torch.tensor(high)[:, None], torch.tensor(low)
    return float(((above > below).double() + (above == below).double() / 2).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--pair", default="mnist5k-optdigits")
    parser.add_argument("--rate", type=float, default=0.1)
    parsed = parser.parse_args()
    torch.set_num_threads(1)
    made = [lineage(parsed.pair, seed, parsed.rate) for seed in range(parsed.seeds)]
    domain = tl_robust.pair(parsed.pair, space="digits").side("target")
    test, target = domain.images("test"), domain.images("train")
    images = test.take(torch.arange(len(test))[:: len(test) // 200][:200])
    print(f"{parsed.pair}, rate {parsed.rate:g}: attack success at least {min(one.success for one in made):.2f}")
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    start = time.perf_counter()
    for seed, one in enumerate(made):
        others = [made[(seed + place) % len(made)].parent for place in range(1, 1 + DECOYS)]
        names = tuple(map(str, range(10)))
        parent, *decoys = (
            ReadModel(f"parent {place}", network, names) for place, network in enumerate([one.parent, *others])
        )
        for kind, network, train in (("clean", one.clean, target), ("poisoned", one.poisoned, one.train)):
            model = ReadModel(kind, network, names)
            subject = Subject(model, parent, tuple(decoys), images, names, train, seed=seed)
            for finding in alarms(subject)[0]:
                attack = finding.attack.partition("(")[0] if finding.name == ALARM else ""
                found[kind, f"{finding.name} {attack}".strip()].append(finding.value)
            found[kind, "activation_clusters"].append(float(clusters(network, train)))
    seconds = (time.perf_counter() - start) / (2 * len(made))
    print(f"{seconds:.1f} s an audit, each with {1 + DECOYS} clean models beside the audited one")
    for name in dict.fromkeys(name for _, name in found):
        clean, poisoned = (found[kind, name] for kind in ("clean", "poisoned"))
        print(f"{name}: clean {_span(clean)}, poisoned {_span(poisoned)}", end="")
        if name.startswith(ALARM):
            least = 1 / (2 + DECOYS)
            print(f"; p = {least:.2f}: clean {share(_at(clean, least), len(clean))}", end="")
            print(f", poisoned {share(_at(poisoned, least), len(poisoned))}")
        else:
            print(f"; AUROC {auroc(poisoned, clean):.2f}", end="")
            threshold = {INDEX: 2.0, RATIO: 2.0, STAMPED: 0.03, "activation_clusters": 0.5}[name]
            print(
                f"; above {threshold:g}: clean {share(sum(value > threshold for value in clean), len(clean))}", end=""
            )
            print(f", poisoned {share(sum(value > threshold for value in poisoned), len(poisoned))}")


def _at(values: list[float], least: float) -> int:
    return sum(value < least + 1e-9 for value in values)


def _span(values: list[float]) -> str:
    return f"{min(values):.2f} to {max(values):.2f}"


if __name__ == "__main__":
    main()
