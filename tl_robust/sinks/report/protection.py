"""What filters, repairs and alarms do to a backdoor, each beside the arms without it.

Axes: P poisoned models, C clean ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from tl_robust.metrics import METRICS
from tl_robust.metrics.estimate import clopper_pearson
from tl_robust.results.names import MARKS, grid, grouped, number
from tl_robust.sinks.report.blocks import Block, Fold, Table, Text
from tl_robust.sinks.report.part import Part
from tl_robust.sinks.report.survival import Curves
from tl_robust.types import Cell, Result, Stamped

FLAGGED = 2.0  # Neural Cleanse's threshold of the anomaly index (Wang et al., S&P 2019)
COLUMNS = (
    ("lift", "lift"),
    ("plain attack's success", "plain_success"),
    ("B right", "victim_accuracy"),
    ("twin right", "twin_accuracy"),
)
NUMBERED = ("number of poisoned ones", "of clean ones")
ATTACKERS = {"plain": "knows no defense", "known": "the better of him and those who know it"}
OF_DEFENSES = ("filter_", "alarm_")  # what metrics begin with that judge a filter or an alarm
COUNTS = ("filter_kept", "filter_true_positives", "filter_false_positives")  # the column of kept images says these
NOTE = (
    "Defense none is the same training without it, and random_removal leaves out as many images at random as it is "
    "told: a defense is worth what it does beyond both. All numbers are those after the last epoch, against the most "
    "successful attack, those that know the defense among them; the plain attack does not. Seconds are those of all "
    "that was trained and fitted for B beside the public models, the mean over seeds."
)
MODELS = (
    "Alarms are judged by how far poisoned models stand above their clean twins, which were trained in the same way. "
    "The number of a model is what the alarm says of it; where an alarm judges images, it is the AUROC of stamped ones "
    "against clean ones, which should be 0.5 in a twin. How many models are above a threshold is said where an alarm "
    f"of models came with one: Neural Cleanse flags an anomaly index above {FLAGGED:g}."
)


def defended(part: Part) -> list[Block]:
    """A table for each pair, backdoor and view with defenses: every strategy undefended, then with each of them."""
    face, blocks = part.face, list[Block]()
    groups = grouped(part.rows, lambda row: (part.names.group(row.cell), row.cell.view))
    for (group, view), rows in groups.items():
        cells = grouped(rows, lambda row: (_strategy(row.cell), row.cell.defense or "none"))
        protected = {strategy for strategy, defense in cells if defense != "none"}
        shown = sorted((key for key in cells if key[0] in protected), key=lambda key: key[1] != "none")
        xs = grid(row for row in rows if row.metric == "lift")
        if not shown or not xs:
            continue
        there = list(dict.fromkeys(row.metric for row in rows))
        columns = [column for column in COLUMNS if column[1] in there]
        judging = [metric for metric in there if metric.startswith(OF_DEFENSES) and metric not in COUNTS]
        headings = (name.removeprefix("filter_").replace("_", " ").replace("auroc", "AUROC") for name in judging)
        kept = {key: _kept(part.results, members[0].cell) for key, members in cells.items() if key in shown}
        body = []
        for strategy in dict.fromkeys(strategy for strategy, _ in shown):
            for key in (key for key in shown if key[0] == strategy):
                line = Curves(cells[key])
                numbers = [line.text(metric, xs[-1], metric != "lift") for _, metric in columns]
                judged = [line.text(metric, xs[-1], True) for metric in judging]
                more = [kept[key] or "-"] * any(kept.values())
                seconds = _seconds(part.results, cells[key][0].cell)
                body.append((*key, *numbers, seconds, MARKS[line.trust], *judged, *more))
        more = ["kept images"] * any(kept.values())
        head = ("strategy", "defense", *(heading for heading, _ in columns), "seconds", "trust", *headings, *more)
        title = f"{group}, {face.side(view)}, after {face.axis_text(xs[-1])} epochs, [95 % interval]"
        blocks.append(Table(title, head, body, names=2, brief=True, cards=True))
    return [Text(NOTE), *blocks] if blocks else []


@dataclass(frozen=True)
class Model:
    """How an alarm judges one poisoned model and its clean twin.

    Attributes:
        cell: Its coordinates.
        attacker: Who poisoned it, a key of ``ATTACKERS``.
        index: The number of the poisoned model after the last epoch.
        twin: That of the clean one.
    """

    cell: Cell
    attacker: str
    index: float
    twin: float


def alarms(part: Part) -> list[Block]:
    """How well alarms tell poisoned models from their clean twins."""
    found = [model for result in part.results for model in _judged(result)]
    body, folds = [], list[Block]()
    for (group, view, defense, attacker), models in grouped(
        found, lambda model: (part.names.group(model.cell), model.cell.view, model.cell.defense, model.attacker)
    ).items():
        bad, clean = (torch.tensor([getattr(model, name) for model in models]) for name in ("index", "twin"))
        where, who = f"{group}, {part.face.side(view)}", ATTACKERS[attacker]
        shares = [_flagged(values) if _indexed(defense) else "-" for values in (clean, bad)]
        ranges = [f"{float(values.min()):.2f} to {float(values.max()):.2f}" for values in (bad, clean)]
        count = f"{len(models)} and {len(models)}"
        body.append((where, defense, who, count, f"{auroc(bad, clean):.3f}", *ranges, *shares))
        numbers = [(_strategy(model.cell), str(model.cell.seed), f"{model.index:.2f}", f"{model.twin:.2f}")
                   for model in models]  # fmt: skip
        each = Table("Number of each model", ("strategy", "seed", "poisoned model", "its clean twin"), numbers, 2)
        folds.append(Fold(f"Each model: {where}, {defense}; attacker: {who}", [each]))
    flagged = (f"{kind} ones above {FLAGGED:g}" for kind in ("clean", "poisoned"))
    head = (
        "pair, backdoor",
        "alarm",
        "attacker",
        "poisoned and clean models",
        "AUROC over models",
        *NUMBERED,
        *flagged,
    )
    title = "Alarms over models after the last epoch, [95 % interval]"
    return [Text(MODELS), Table(title, head, body, names=3, brief=True, cards=True), *folds] if body else []


def auroc(bad_P: Tensor, clean_C: Tensor) -> float:
    """Probability that a poisoned model has the larger number, ties half (Mann and Whitney 1947)."""
    gap = bad_P[:, None] - clean_C
    return float(((gap > 0).double() + 0.5 * (gap == 0)).mean())


def _indexed(defense: str) -> bool:
    """Whether an alarm's number is Neural Cleanse's anomaly index."""
    return defense.startswith("neural_cleanse") and "measure=" not in defense


def _flagged(index: Tensor) -> str:
    """How many are above the threshold, with Clopper and Pearson's interval."""
    hits, n = (index > FLAGGED).sum(), torch.tensor(len(index))
    low, high = (number(float(end), "share") for end in clopper_pearson(hits.double()[None], n.double()[None]))
    return f"{int(hits)} of {int(n)} [{low}, {high} %]"


def _judged(result: Result[Stamped]) -> list[Model]:
    """How the alarm of a cell judges its models, for each attacker; none without an alarm or a twin."""
    beside, models = result.beside, []
    bad = {"plain": beside["plain"], "known": result.outcome} if "plain" in beside else {"plain": result.outcome}
    twin = beside.get("twin")
    for attacker, record in bad.items():
        if isinstance(record, Stamped) and isinstance(twin, Stamped):
            whole = [_of_model(one) for one in (record, twin)]
            alike = torch.equal(record.size_l2, twin.size_l2)  # the twin was asked about images with the same trigger
            index, of_twin = [_of_images(one) for one in (record, twin)] if None in whole and alike else whole
            if index is not None and of_twin is not None:
                models.append(Model(result.cell, attacker, index, of_twin))
    return models


def _of_model(record: Stamped) -> float | None:
    """The number that all images have after the last epoch; None where they differ or no alarm spoke."""
    last = torch.cat([record.suspicion_clean[-1], record.suspicion_stamped[-1]])
    return float(last[0]) if bool(last.any()) and bool((last == last[0]).all()) else None


def _of_images(record: Stamped) -> float | None:
    """AUROC of stamped images against clean ones after the last epoch; None where no alarm judges images."""
    metric = METRICS["alarm_auroc"]
    return float(metric(record)[-1]) if metric.applies(record, "", {}) else None


def _seconds(results: Sequence[Result[Stamped]], cell: Cell) -> str:
    """Seconds that making B took, the mean over seeds; a dash where that was not recorded."""
    same = [result for result in results if replace(result.cell, seed=-1) == cell]
    spent = [result.provenance["victim_seconds"] for result in same if "victim_seconds" in result.provenance]
    return f"{sum(spent) / len(spent):.1f}" if spent else "-"


def _kept(results: Sequence[Result[Stamped]], cell: Cell) -> str:
    """What a filter left of the images and of the poison among them, over all seeds; empty without a filter."""
    records = [result.outcome for result in results if replace(result.cell, seed=-1) == cell]
    kept = torch.cat([record.sifted_kept for record in records] or [torch.zeros(0, dtype=torch.bool)])
    poisoned = torch.cat([record.sifted_poisoned for record in records] or [kept])
    if not len(kept):
        return ""
    of_poison = f", {int((kept & poisoned).sum()):,} of {int(poisoned.sum()):,} poisoned" * bool(poisoned.any())
    return f"{int(kept.sum()):,} of {len(kept):,}{of_poison}"


def _strategy(cell: Cell) -> str:
    return cell.strategy + f" ({cell.common})" * bool(cell.common)
