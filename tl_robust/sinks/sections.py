"""What the report says: the answer in words, then curves and tables of every number.

Each function returns the blocks of one section.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations

from tl_robust.metrics import METRICS
from tl_robust.sinks.blocks import (
    MARKS,
    VIEWS,
    Block,
    Fold,
    Names,
    Panels,
    Table,
    Text,
    eps_text,
    grid,
    grouped,
    interval,
    number,
    telling_eps,
)
from tl_robust.sinks.table import Row
from tl_robust.types import Outcome, Result

TRANSFER = ("transfer_ratio", "surrogate_ratio", "match_rate")
OTHERS = 2000  # numbers of metrics without a chart that the page shows, to stay small
NOTES = {
    "transfer_ratio": "The paper's own formula could not be read: this reading of it is unconfirmed. "
    "No point is drawn where a ratio is undefined (n/a in the table), and points beyond an axis sit on its edge.",
    "half_eps": "Where a curve never falls that far it is the largest eps of the grid: read it as at least. "
    "In [0,1] pixel units: 0.0314 is 8/255.",
}


def ran(results: Sequence[Result], summary: Sequence[Row], names: Names) -> str:
    """One sentence: what was run; as far as a summary alone tells where results came without samples."""

    def several(word: str, items: Sequence[object]) -> str:
        found = list(dict.fromkeys(map(str, items)))
        return f"{len(found)} {word}{'s'[: len(found) != 1]} ({', '.join(found)})"

    cells = [result.cell for result in results] or [row.cell for row in summary]
    if not cells:
        return "Nothing has run yet."
    images = sorted({len(result.outcome.label) for result in results})
    eps = grid(summary)
    parts = [
        several("pair", [names.pair(cell) for cell in cells]),
        several("strategy", [names.strategy(cell) for cell in cells]).replace("strategys", "strategies"),
        several("attack", [f"{cell.attack} {cell.norm}" for cell in cells]),
        f"eps {', '.join(map(eps_text, eps))}",
    ]
    if results:
        parts.append(several("seed", sorted({cell.seed for cell in cells})))
        parts.append(f"{' or '.join(map(str, images))} test images")
    device = {str(result.provenance["device"]) for result in results if "device" in result.provenance}
    return "; ".join(parts + [f"on {', '.join(sorted(device))}"] * bool(device)) + "."


def answers(summary: Sequence[Row], names: Names) -> list[Block]:
    """The accuracies at the eps where the strategies lose most unequally, in words and as one table."""
    rows = [row for row in summary if row.metric == "robust_accuracy" and row.eps is not None]
    blocks: list[Block] = []
    body = []
    for group, members in grouped(rows, lambda row: names.group(row.cell)).items():
        views = grouped(members, lambda row: row.cell.view)
        first = next(view for view in VIEWS if view in views)
        eps = telling_eps(views[first])
        if eps is None:
            continue
        clean = {names.strategy(row.cell): row.value for row in views[first] if row.eps == 0 and row.value == row.value}
        here = {
            view: {names.strategy(row.cell): row for row in views.get(view, ()) if row.eps == eps} for view in VIEWS
        }
        blocks.append(Text(" ".join(_sentences(eps_text(eps), here["black"], here["white"], clean)), group))
        for label in {**here["black"], **here["white"]}:
            found = [here[view].get(label) for view in VIEWS]
            trust = max((row.trust for row in found if row), key=list(MARKS).index)
            texts = [interval(row) if row else "-" for row in found]
            body.append((group, eps_text(eps), label, *texts, MARKS[trust]))
    if not body:
        return []
    head = ("pair, attack", "eps", "strategy", "black box", "white box", "trust")
    note = "Accuracy under attack at the eps where the strategies lose most unequally in the black box, mean over seeds"
    return [*blocks, Table(f"{note}, [95 % interval]", head, body, names=3, brief=True)]


def _sentences(
    eps: str, black: Mapping[str, Row], white: Mapping[str, Row], clean: Mapping[str, float]
) -> Iterator[str]:
    def lost(item: tuple[str, Row]) -> float:
        return clean.get(item[0], 1.0) - item[1].value

    def listed(found: Sequence[tuple[str, Row]], word: str = "") -> str:
        texts = [f"{label} {word}{interval(row)}" for label, row in found]
        return " and ".join([", ".join(texts[:-1]), texts[-1]] if len(texts) > 1 else texts)

    ranked = sorted(black.items(), key=lost, reverse=True)
    if len(ranked) > 1:
        fallen = [f"{label}{_from(label, clean)} to {interval(row)}" for label, row in ranked]
        yield f"At eps {eps} the public source model lets an attacker push {', '.join(fallen[:-1])}, and {fallen[-1]}."
        pairs = [f"{a} and {b}" for (a, low), (b, high) in combinations(ranked, 2) if low.high >= high.low]
        yield f"These intervals overlap for {', '.join(pairs)}." if pairs else "These intervals do not overlap."
    elif ranked:
        yield f"At eps {eps} an attacker with the public source model leaves {listed(ranked)}."
    levels = {row.trust for row in [*black.values(), *white.values()]} - {"green"}
    if white:
        own = sorted(white.items(), key=lost, reverse=True)
        yield f"An attacker with the victim itself leaves {listed(own)}{'' if black else f' at eps {eps}'}."
    if levels:
        yield f"Some of these numbers are {' or '.join(sorted(levels))}: see Trust."


def _from(label: str, clean: Mapping[str, float]) -> str:
    return f" from {100 * clean[label]:.1f} %" if label in clean else ""


def curves(summary: Sequence[Row], names: Names, metrics: Sequence[str]) -> list[Block]:
    """Charts of some metrics over eps, for each pair and attack, with their tables."""
    rows = [row for row in summary if row.metric in metrics and row.eps is not None]
    blocks: list[Block] = []
    for group, members in grouped(rows, lambda row: names.group(row.cell)).items():
        found = grouped(members, lambda row: (row.metric, row.cell.view))
        wanted = [(metric, view) for metric in metrics for view in VIEWS if (metric, view) in found]
        title = {key: VIEWS[key[1]] if len(metrics) == 1 else key[0] for key in wanted}
        blocks.append(Text("", group))
        blocks.append(Panels([(title[key], key[0], found[key]) for key in wanted]))
        tables = [_by_eps(f"{key[0]}, {key[1]} box", found[key], names, key[0] == metrics[0]) for key in wanted]
        blocks.append(Fold(f"Numbers of {group}", tables))
    there = {row.metric for row in rows}
    return [*_meanings(metric for metric in metrics if metric in there), *blocks]


def _meanings(metrics: Iterable[str]) -> list[Block]:
    return [Text(f"{metric}: {METRICS[metric].doc} {NOTES.get(metric, '')}".strip()) for metric in metrics]


def _by_eps(title: str, rows: Sequence[Row], names: Names, brief: bool) -> Table:
    lines = grouped(rows, lambda row: names.strategy(row.cell))
    at = {(row.eps, label): row for label, found in lines.items() for row in found}
    sizes = {row.n for row in rows}
    title += f", n {sizes.pop()}" if len(sizes) == 1 else ", n in parentheses"

    def text(row: Row | None) -> str:
        return "-" if row is None else interval(row) + (f" ({row.n})" if sizes else "")

    body = [(eps_text(eps), *(text(at.get((eps, label))) for label in lines)) for eps in grid(rows)]
    return Table(title, ("eps", *lines), body, brief=brief)


def others(summary: Sequence[Row], names: Names) -> list[Block]:
    """Tables of the metrics that have no chart; of a large bench, of the first pairs and attacks."""
    shown = {"robust_accuracy", *TRANSFER}
    rows = [row for row in summary if row.metric not in shown and row.eps is not None]
    blocks, left = _meanings(dict.fromkeys(row.metric for row in rows)), OTHERS
    for group, members in grouped(rows, lambda row: names.group(row.cell)).items():
        left -= len(members)
        if left < 0:
            return [*blocks, Text(f"The numbers of more pairs and attacks, {len(rows)} in all, are in summary.csv.")]
        found = grouped(members, lambda row: f"{row.metric}, {row.cell.view} box")
        blocks.append(Fold(f"Numbers of {group}", [_by_eps(title, found[title], names, False) for title in found]))
    return blocks


def whole_curves(summary: Sequence[Row], names: Names) -> list[Block]:
    """The metrics that sum a whole curve up."""
    rows = [row for row in summary if row.eps is None]
    metrics = list(dict.fromkeys(row.metric for row in rows))
    cells = grouped(rows, lambda row: (names.group(row.cell), f"{row.cell.view} box", names.strategy(row.cell)))
    at = {(cell, row.metric): interval(row) for cell, found in cells.items() for row in found}
    order = list(dict.fromkeys(group for group, _, _ in cells))
    ranked = sorted(cells, key=lambda cell: (order.index(cell[0]), cell[1]))
    body = [(*cell, *(at.get((cell, metric), "-") for metric in metrics)) for cell in ranked]
    head = ("pair, attack", "view", "strategy", *metrics)
    return [*_meanings(metrics), Table("Whole curves, [95 % interval]", head, body, 3, brief=True)] if rows else []


def clean(results: Sequence[Result], names: Names) -> list[Block]:
    """Accuracy of victim and source model without an attack."""

    def accuracy(found: Sequence[Result], model: str) -> str:
        unharmed = [_unharmed(result.outcome, model) for result in found]
        curve = METRICS["robust_accuracy"].mean_curve([(outcome, None) for outcome in unharmed])
        value, low, high = (number(float(item[0]), "share") for item in (curve.value, curve.low, curve.high))
        return f"{value} % [{low}, {high}]"

    body = []
    for (pair, label), cells in grouped(
        results, lambda item: (names.pair(item.cell), names.strategy(item.cell))
    ).items():
        seeds = {
            view: list({cell.cell.seed: cell for cell in cells if cell.cell.view == view}.values()) for view in VIEWS
        }
        victim = accuracy(seeds["black"] or seeds["white"], "clean_b")
        same = [result for result in seeds["black"] if bool(result.outcome.same_labels.all())]
        source = accuracy(same, "clean_a") if same else "n/a" if seeds["black"] else "-"
        body.append((pair, label, victim, source))
    head = ("pair", "strategy", "victim B", "source model A")
    title = "Clean accuracy on the target's test images, [95 % interval]"
    note = [Text("n/a: the source model has other classes than the target; examples are crafted to change its answer.")]
    return [*note * any(row[3] == "n/a" for row in body), Table(title, head, body, 2, brief=True)] if body else []


def _unharmed(outcome: Outcome, model: str) -> Outcome:
    """The outcome of an attack with eps 0 on ``clean_a`` or ``clean_b``."""
    clean = outcome.tensors()[model]
    one = {name: outcome.tensors()[name][:1] for name in ("adv_a", "size", "eps", "valid")}
    return replace(outcome, clean_b=clean, adv_b=clean[None], **one)
