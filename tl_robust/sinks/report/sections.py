"""What the report says: the answer in words, then curves and tables of every number.

Each function returns the blocks of one section.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import replace

from tl_robust.claims.effects import Finding
from tl_robust.metrics import METRICS
from tl_robust.results import answer
from tl_robust.results.answer import Said
from tl_robust.results.names import MARKS, VIEWS, Names, grid, grouped, interval, number
from tl_robust.results.table import Row
from tl_robust.sinks.report.blocks import Block, Fold, Panels, Points, Table, Text
from tl_robust.text import eps_text
from tl_robust.types import Outcome, Result

TRANSFER = ("transfer_ratio", "surrogate_ratio", "match_rate")
OTHERS = 2000  # numbers of metrics without a chart that the page shows, to stay small
NOTES = {
    "transfer_ratio": "The paper's own formula could not be read: this reading of it is unconfirmed. "
    "No point is drawn where a ratio is undefined (n/a in the table), and points beyond an axis sit on its edge.",
    "half_eps": "Where a curve never falls that far it is the largest eps of the grid: read it as at least. "
    "In [0,1] pixel units: 0.0314 is 8/255.",
}


def facts(bench: str, results: Sequence[Result], when: str) -> str:
    """One line: the bench, the date of its run, seeds and devices; as far as they are known."""
    seeds = sorted({result.cell.seed for result in results})
    devices = sorted({str(result.provenance["device"]) for result in results if "device" in result.provenance})
    parts = [f"Bench {bench}", *[f"run of {when}"] * bool(when), *[_several("seed", seeds)] * bool(seeds)]
    return ", ".join([*parts, *[f"on {' and '.join(devices)}"] * bool(devices)]) + "."


def ran(results: Sequence[Result], summary: Sequence[Row], names: Names) -> str:
    """One sentence: what was run; as far as a summary alone tells where results came without samples."""
    cells = [result.cell for result in results] or [row.cell for row in summary]
    if not cells:
        return "Nothing has run yet."
    images = sorted({len(result.outcome.label) for result in results})
    parts = [
        _several("pair", [names.pair(cell) for cell in cells]),
        _several("strategy", [names.strategy(cell) for cell in cells]).replace("strategys", "strategies"),
        _several("attack", [f"{cell.attack} {cell.norm}" for cell in cells]),
        f"eps {', '.join(map(eps_text, grid(summary)))}",
    ]
    return "; ".join(parts + [f"{' or '.join(map(str, images))} test images"] * bool(images)) + "."


def _several(word: str, items: Sequence[object]) -> str:
    found = list(dict.fromkeys(map(str, items)))
    return f"{len(found)} {word}{'s'[: len(found) != 1]} ({', '.join(found)})"


def answers(
    results: Sequence[Result],
    summary: Sequence[Row],
    findings: Sequence[Finding],
    names: Names,
    failed: int = 0,
    notes: Sequence[str] = (),
) -> tuple[list[Block], set[str]]:
    """The answer in words, then charts of the first pairs and attacks, then a table of all.

    Returns:
        The blocks, and the names of what was charted.
    """
    found = answer.said(summary, findings, names, quoted=True)
    if not found:
        return [], set()
    lead = found[: answer.LEAD]
    seeds = len({result.cell.seed for result in results})
    warned = [*notes, *answer.caveats(summary, findings, seeds)]
    if failed:
        warned.insert(0, "Some cells are missing here, since they failed: see Failures.")
    overall = answer.overall(findings)
    blocks: list[Block] = [Points(overall)] if overall else []
    for one in lead:
        heading, chart, numbers = _curve(one.group, one.rows, names, ["robust_accuracy"], True)
        first: list[Block] = [Text(answer.WORDS), *[Points(warned)] * bool(warned)] if one is lead[0] else []
        blocks += [heading, Points(one.lines), *first, chart, numbers]
    if len(found) > len(lead):
        blocks.append(Text(f"{len(found) - len(lead)} more: their charts are in the next section."))
    return [*blocks, _at_telling_eps(found, names)], {one.group for one in lead}


def _at_telling_eps(found: Sequence[Said], names: Names) -> Table:
    body = []
    for one in found:
        telling = {view: answer.telling([row for row in one.rows if row.cell.view == view]) for view in VIEWS}
        for strategy, rows in grouped(one.rows, lambda row: names.strategy(row.cell)).items():
            trust = max((row.trust for row in rows), key=list(MARKS).index)
            clean = [interval(row) for row in rows if row.eps == 0][:1] or ["-"]
            at = {row.cell.view: f"{interval(row)} at {eps_text(row.eps or 0.0)}" for row in rows
                  if row.eps == telling[row.cell.view]}  # fmt: skip
            body.append((one.group, strategy, *clean, *(at.get(view, "-") for view in VIEWS), MARKS[trust]))
    head = ("pair, attack", "strategy", "no attack", "black box", "white box", "trust")
    title = "Accuracy of the victim, each view at the eps where the strategies differ most, mean over seeds"
    return Table(f"{title}, [95 % interval]", head, body, names=2, brief=True, cards=True)


def curves(
    summary: Sequence[Row], names: Names, metrics: Sequence[str], charted: Container[str] = frozenset()
) -> list[Block]:
    """Charts of some metrics over eps, for each pair and attack that is not charted already, with their tables."""
    rows = [row for row in summary if row.metric in metrics and row.eps is not None]
    blocks: list[Block] = []
    for group, members in grouped(rows, lambda row: names.group(row.cell)).items():
        if group not in charted:
            blocks += _curve(group, members, names, metrics, len(metrics) == 1)
    there = {row.metric for row in rows}
    return [*_meanings(metric for metric in metrics if metric in there), *blocks] if blocks else []


def _curve(group: str, rows: Sequence[Row], names: Names, metrics: Sequence[str], by_view: bool) -> list[Block]:
    found = grouped(rows, lambda row: (row.metric, row.cell.view))
    wanted = [(metric, view) for metric in metrics for view in VIEWS if (metric, view) in found]
    title = {key: VIEWS[key[1]] if by_view else key[0] for key in wanted}
    tables = [_by_eps(f"{key[0]}, {key[1]} box", found[key], names, key[0] == metrics[0]) for key in wanted]
    panels = Panels([(title[key], key[0], found[key]) for key in wanted])
    return [Text("", group), panels, Fold(f"Numbers of {group}", tables)]


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
