"""How often an audit finds the parent of a model, and how often it claims one where there is none.

    python experiments/lineage/lineage.py [--store FOLDER] [--out FILE] [--nets dtn ...] [--seeds 20 21 22] ...

Trains small parents, children of each by every way of tuning, and unrelated models (about ten minutes on one core), and
audits each with its parent among the candidates and without. An interrupted run goes on where it stopped.
"""

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from textwrap import fill

import forest
import torch
from judged import ALONE, CHILD, IMAGES, LEFT_ALONE, LEFT_OUT, ORPHAN, SIBLING, UNRELATED, Judge, Judged, Pairs
from scipy.optimize import minimize
from scipy.stats import binomtest

from tl_robust.auditor.origin import decisions, evidence
from tl_robust.engines.base import Job
from tl_robust.engines.local import Local
from tl_robust.engines.observer import Observer
from tl_robust.nodes.node import Node
from tl_robust.nodes.store import Store

FITTED = {"decisions": (CHILD, UNRELATED, LEFT_OUT)}
MEASURED = {
    "weights": (CHILD, UNRELATED, LEFT_OUT, ALONE, LEFT_ALONE, SIBLING, ORPHAN),
    "features": (CHILD, UNRELATED, LEFT_OUT, SIBLING),
    "decisions": (CHILD, UNRELATED, LEFT_OUT),
}
BINS = ((0.0, 0.1), (0.1, 0.5), (0.5, 0.9), (0.9, 0.99), (0.99, 1.0))
TEXT = """# Which parent: how often an audit finds it

Made by `make lineage` (`experiments/lineage/lineage.py`). {parents} small parents ({nets}; each on {sources}, with
seeds {measured}). Of each parent there are children by every way of tuning, on other digits, on six classes of them, or
on what parents of the other source know: {children} in all. {images} test images an audit; four candidates, of the
same architecture: the parent, two with its data and other seeds, and one with other data. Without its parent a child
is an unrelated model, too, and the hardest one: in its place stands another with other data.

Every number is of seeds {measured}. What is fitted comes from seeds {fit} alone: the posterior and the rule of
decisions, and the bound of *kept*. Shares in %, with exact 95 % intervals; children of one parent are not independent,
so that these are somewhat too short.

- **weights**: do the filters of the model stand in the order of those of the candidate? Networks that were trained
  apart have them in random order, which gives a p-value in closed form (`tl_robust/auditor/origin/weights.py`).
- **features**: the same of the features of the test images, within their classes, for files whose tensors do not fit.
- **decisions**: how alike are the logits on noise? For what can only be asked. The closest needs a lead over the next.

## Children: right parent first, and claimed

{0}

## Unrelated models: none claimed

{1}

## Relatives that are no parent

Models with the parent's initial weights and other data have the order of its units, too: by *weights* they are told by
what is *kept* (below), by *features* they are not. A sibling is another child of the parent, on the same data,
fine-tuned in full. Where it is a candidate beside the parent, the parent should be first; it is not where the sibling
stopped on the way that the model went (small rate, beside a model of large rate). Where it stands in the parent's
place, none should be claimed.

{2}

## One candidate

{3}

## Certainty

Of the audits of children and unrelated models, those with initial weights of the parent left out, by how certain the
closest candidate is said to be: how often it is the parent. Of weights and features the certainty is the posterior by
Bayes' rule of z, which is standard normal by chance and lognormal of children, with the median of seeds {fit}
({medians}; the package has {constants}) and a spread of 1; times the chance that the closest is closer than the next
that is related.

{4}

## Chance

Standard deviations of {pairs} pairs that were trained apart: they should be standard normal.

{5}

## What is kept

Of what the candidate has learned (an eighth of the singular directions of its tensors), as a part of how much of the
rest is kept. Up to {kept} no parent is claimed.

{6}

## The rule of decisions

Fitted on seeds {fit}, by logistic regression with the lead of the closest over the next: {7} The package has {base},
{slope} and {lead}.
"""


class Told(Observer):
    """Prints a line for each training."""

    def end(self, stage: str, label: str, seconds: float, note: str) -> None:
        print(f"{seconds:5.1f} s  {label}  {note}", flush=True)

    def warn(self, message: str) -> None:
        print(message, flush=True)


def trained(size: forest.Size, store: Path, observer: Observer) -> None:
    """Train what is absent of the store.

    Raises:
        RuntimeError: A training failed.
    """
    nodes: dict[str, Node] = {}
    for sample in forest.samples(size):
        for model in (sample.near, sample.model):
            for node in model.nodes:
                nodes[node.key] = nodes[node.key].joined(node) if node.key in nodes else node
    if failures := Local().run(Job(store.resolve(), {"accelerator": "cpu"}, 0), list(nodes.values()), observer):
        raise RuntimeError("; ".join(f"{failure.node}: {failure.cause}" for failure in failures.values()))


def share(of: Iterable[bool]) -> str:
    found = list(of)
    if not found:
        return "-"
    ends = binomtest(sum(found), len(found)).proportion_ci()
    return f"{100 * sum(found) / len(found):.1f} [{100 * ends.low:.1f}, {100 * ends.high:.1f}]"


def table(head: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, ["---"] * len(head), *body])


def by_way(rows: Sequence[Judged], groups: Sequence[str], told: dict[str, Callable[[Judged], bool]]) -> str:
    """A line for each way, and all; of each kind of evidence what is told."""
    rows = [row for row in rows if row.group in groups]
    kinds = [kind for kind in MEASURED if any(row.kind == kind for row in rows)]
    ways = list(dict.fromkeys(name(row) for row in rows))
    body = []
    for way in [*ways, "all"]:
        mine = [row for row in rows if way in ("all", name(row))]
        count = len([row for row in mine if row.kind == kinds[0]])
        cells = [share(tell(row) for row in mine if row.kind == kind) for kind in kinds for tell in told.values()]
        body.append([way, str(count), *cells])
    return table(["", "models", *(f"{kind}: {what}" for kind in kinds for what in told)], body)


def name(row: Judged) -> str:
    """How a line is called."""
    return row.way if row.group in (CHILD, UNRELATED) else row.group


RIGHT: dict[str, Callable[[Judged], bool]] = {
    "right first": lambda row: row.right,
    "right first and claimed": lambda row: row.right and row.claimed,
}
NONE: dict[str, Callable[[Judged], bool]] = {"none claimed": lambda row: not row.claimed}
WRONG: dict[str, Callable[[Judged], bool]] = {"another claimed": lambda row: row.claimed and not row.right}


def calibrated(rows: Sequence[Judged]) -> str:
    """How often the closest is the parent, by its certainty."""
    body = []
    for low, high in BINS:
        mine = [row for row in rows if low <= row.certainty < high or row.certainty == high == 1]
        cells = []
        for kind in MEASURED:
            found = [row for row in mine if row.kind == kind]
            mean = sum(row.certainty for row in found) / max(1, len(found))
            cells += [f"{100 * mean:.1f}" if found else "-", share(row.right for row in found), str(len(found))]
        body.append([f"{100 * low:g} to {100 * high:g}", *cells])
    return table(["certainty", *(f"{kind}: {what}" for kind in MEASURED for what in ("mean", "right", "n"))], body)


def chance(pairs: Pairs) -> str:
    """Moments and tails of what should be standard normal."""
    body = []
    for kind, found in pairs.chance.items():
        z = torch.tensor(found)
        tails = [share((z > bound).tolist()) for bound in (1.645, 2.326)]
        body.append([kind, str(len(z)), f"{z.mean():.2f}", f"{z.std():.2f}", f"{z.max():.2f}", *tails])
    return table(["", "pairs", "mean", "standard deviation", "largest", "above 1.645 (5 %)", "above 2.326 (1 %)"], body)


def kept(fit: Pairs, measured: Pairs) -> str:
    """Least, middle and largest of what is kept, by way."""
    body = []
    for way, found in measured.kept.items():
        cells = []
        for values in (torch.tensor(fit.kept[way]), torch.tensor(found)):
            cells += [f"{value:.2f}" for value in (values.min(), values.median(), values.max())]
        body.append([way, *cells])
    seeds = [f"{what}, {which} seeds" for which in ("fitted", "measured") for what in ("least", "median", "largest")]
    return table(["", *seeds], body)


def fitted(rows: Sequence[Judged]) -> tuple[float, float, float]:
    """Base and slope of the log odds that the closest is the parent by its lead, and the lead of a claim.

    That is the least multiple of 0.01 that at most 3 % of those whose closest is not the parent reach.
    """
    lead = torch.tensor([row.lead for row in rows], dtype=torch.float64)
    right = torch.tensor([row.right for row in rows])

    def loss(at: Sequence[float]) -> float:
        odds = (at[0] + at[1] * lead) * (2 * right.double() - 1)
        return float(torch.nn.functional.softplus(-odds).mean())

    base, slope = minimize(loss, (0.0, 10.0), method="Nelder-Mead").x
    wrong = lead[~right]
    bound = next(step / 100 for step in range(100) if float((wrong >= step / 100).double().mean()) <= 0.03)
    return float(base), float(slope), bound


def medians(of: Mapping[str, float]) -> str:
    return ", ".join(f"{kind} {value:.0f}" for kind, value in of.items())


def written(fit: forest.Size, measured: forest.Size, store: Path) -> str:
    """The page."""
    found = Judge(fit, Store(store))
    fit_rows, fit_pairs = [row for row in found.judged(FITTED) if row.way != forest.SAME_START], found.pairs()
    judge = found if fit == measured else Judge(measured, Store(store))
    rows, pairs = list(judge.judged(MEASURED)), judge.pairs()
    apart = [row for row in rows if row.way != forest.SAME_START]
    twins = [row for row in rows if row.way == forest.SAME_START]
    base, slope, lead = fitted(fit_rows)
    relatives = [
        by_way(twins, (UNRELATED,), NONE),
        by_way(rows, (SIBLING,), RIGHT | WRONG),
        by_way(rows, (ORPHAN,), NONE),
    ]
    text = TEXT.format(
        by_way(rows, (CHILD,), RIGHT),
        by_way(apart, (UNRELATED, LEFT_OUT), NONE),
        "\n\n".join(relatives),
        by_way(rows, (ALONE,), RIGHT) + "\n\n" + by_way(rows, (LEFT_ALONE,), NONE),
        calibrated([row for row in apart if row.group in (CHILD, UNRELATED, LEFT_OUT)]),
        chance(pairs),
        kept(fit_pairs, pairs),
        f"base {base:.1f}, slope {slope:.1f}, lead of a claim {lead:.2f} (at most 3 % of the wrong ones reach it).",
        parents=len(judge.parents),
        nets="; ".join(measured.nets),
        sources=" and ".join(forest.SOURCES),
        measured=", ".join(map(str, measured.seeds)),
        fit=", ".join(map(str, fit.seeds)),
        children=sum(sample.child for sample in judge.samples),
        images=IMAGES,
        pairs=len(pairs.chance["weights"]),
        medians=medians({kind: float(torch.tensor(found).median()) for kind, found in fit_pairs.children.items()}),
        constants=medians(evidence.MEDIAN),
        kept=evidence.KEPT,
        base=decisions.BASE,
        slope=decisions.SLOPE,
        lead=decisions.CLAIMED,
    )
    return "\n\n".join(filled(part) for part in text.split("\n\n"))


def filled(part: str) -> str:
    """A paragraph in lines of at most 119 letters; headings, lists and tables stay."""
    return (
        part
        if part.startswith(("#", "|", "- "))
        else fill(part, 119, break_on_hyphens=False) + "\n" * part.endswith("\n")
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, default=Path("results/lineage"), help="folder of the weights")
    parser.add_argument("--out", type=Path, default=Path("docs/lineage.md"), help="file of the tables")
    parser.add_argument("--nets", nargs="+", default=list(forest.NETS), choices=list(forest.NETS), help="networks")
    parser.add_argument("--fit", type=int, nargs="+", default=forest.SEEDS["fit"], help="seeds that rules come from")
    parser.add_argument("--seeds", type=int, nargs="+", default=forest.SEEDS["measured"], help="seeds of the page")
    parser.add_argument("--images", type=int, nargs=2, default=forest.IMAGES, help="of a source, and of a target")
    parser.add_argument("--epochs", type=int, nargs=2, default=forest.EPOCHS, help="of a parent, and of all else")
    parser.add_argument("--train", action="store_true", help="only train what is absent of the store")
    given = parser.parse_args()
    torch.set_num_threads(1)
    parts = (tuple(given.images), tuple(given.epochs))
    sizes = [forest.Size(tuple(given.nets), tuple(seeds), *parts) for seeds in (given.fit, given.seeds)]
    for size in sizes:
        trained(size, given.store, Told())
    if given.train:
        return
    given.out.write_text(written(*sizes, given.store), encoding="utf-8")
    print(f"Written: {given.out}")


if __name__ == "__main__":
    main()
