"""What models give away of what they learned from: the strongest inference of each, what the parent is worth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from tl_robust.results.names import MARKS, grouped, interval, last_x, measured, unit
from tl_robust.results.table import Row
from tl_robust.sinks.report.blocks import Block, Drawings, Points, Table, Text
from tl_robust.sinks.report.dots import at_one_place, drawing
from tl_robust.sinks.report.part import Part
from tl_robust.types import Cell

COLUMNS = (  # heading, metric, with its interval
    ("AUC", "auc", True),
    ("found at 10 %", "tpr_at_10_percent", False),
    ("at 1 %", "tpr_at_1_percent", True),
    ("at 0.1 %", "tpr_at_0_1_percent", False),
    ("accuracy", "cohort_accuracy", False),
    ("train gap", "train_gap", False),
)
RATES = {"tpr_at_10_percent": 0.1, "tpr_at_1_percent": 0.01, "tpr_at_0_1_percent": 0.001}
ENOUGH = 10  # non-members called by mistake, below which a rate is not told
AUDITS = {
    "epsilon_bound": "epsilon at least",
    "epsilon_ceiling": "provable at most",
    "epsilon_claimed": "epsilon claimed",
    "guesses_right": "guesses right",
    "canary_auc": "AUC of canaries",
    "canary_tpr_at_1_percent": "canaries at 1 %",
}
AUDITED = (
    "An attacker guesses the coins of the samples with the highest and the lowest scores. A model of a smaller epsilon "
    "than the one proven would allow so many right guesses in less than one of twenty trainings; the mean over models "
    "is told, and beside it what would be proven if every guess were right: where that is small, a small proof says "
    "little. Half of the guesses are right by chance. The inference that proves most is chosen by these very numbers."
)
CANARIES = " Canaries are samples with a wrong label, which a model only gives if it has learned it by heart."
CHARTS = 8  # pairs and views whose inferences are drawn
KNOWLEDGE = ("lineage", "other_parent", "recipe")
Numbers = dict[tuple[Cell, str], Row]


def exposed(part: Part) -> list[Block]:
    """The strongest inference of each strategy in sentences, then a row for every strategy and inference."""
    numbers, blocks = _last(part.rows), list[Block]()
    decisions = {replace(result.cell, seed=-1): result.outcome.member.numel() // 2 for result in part.results}
    sentences, tables = list[str](), list[Block]()
    cells = dict.fromkeys(cell for cell, metric in numbers if metric == "auc")
    groups = grouped(cells, lambda cell: (part.names.pair(cell), cell.view))
    several = len({pair for pair, _ in groups}) > 1
    for (pair, view), members in groups.items():
        ranked = sorted(members, key=lambda cell: -_value(numbers.get((cell, "auc"))))
        last = part.face.axis_text(numbers[ranked[0], "auc"].eps or 0.0)
        where = f"{part.face.side(view)}, after {last} epochs"
        place = f"{pair}, {where}" if several else where[:1].upper() + where[1:]
        best = {part.names.strategy(cell): cell for cell in reversed(ranked)}
        sentences += [f"{place}: {_sentence(part, cell, numbers, len(members))}"
                      for cell in sorted(best.values(), key=ranked.index)]  # fmt: skip
        body = [
            (part.names.strategy(cell), cell.attack,
             *(_text(numbers.get((cell, metric)), full, decisions.get(cell), metric) for _, metric, full in COLUMNS),
             MARKS[numbers[cell, "auc"].trust])
            for cell in ranked
        ]  # fmt: skip
        head = ("strategy", "inference", *(title for title, *_ in COLUMNS), "trust")
        title = (
            f"{place}: every inference, the strongest first, with the share of members found where so many non-members "
            f"are called by mistake, [95 % interval]. {_counted(part, members)}"
        )
        tables.append(Table(title, head, body, names=2, brief=True, cards=True))
    alone = at_one_place(part.face, part.rows)
    charts = [drawing(part.face, place, rows, part.names) for place, rows in [*alone.items()][:CHARTS]]
    if tables:
        blocks = [Text("", "How exposed each strategy is"), Points([*sentences, *_half_lives(part, several)])]
        blocks += [*[Drawings([chart]) for chart in charts], *tables]
    return blocks


def parents(part: Part) -> list[Block]:
    """The same inference with shadows of three kinds, and what the parent is worth to who has it."""
    numbers = _last(part.rows)
    cells = dict.fromkeys(cell for cell, metric in numbers if metric == "auc")
    several = len({part.names.pair(cell) for cell in cells}) > 1
    places = grouped(
        cells, lambda cell: (part.names.pair(cell), cell.view, _without(cell.attack), part.names.strategy(cell))
    )
    body = []
    for (pair, view, inference, strategy), members in places.items():
        by = {_knowledge(cell.attack): cell for cell in members}
        worth = {know: numbers.get((cell, "parent_value")) for know, cell in by.items()}
        if not any(worth.values()):
            continue
        areas = [numbers.get((by[know], "auc")) if know in by else None for know in KNOWLEDGE]
        gains = [worth.get(know) for know in KNOWLEDGE[1:]]
        place = f"{inference}, {part.face.side(view)}" + f", {pair}" * several
        body.append((place, strategy, *(interval(row) if row else "-" for row in [*areas, *gains])))
    head = ("inference", "strategy", "with the parent", "with another parent", "by the recipe alone",
            "beyond another", "beyond the recipe")  # fmt: skip
    title = (
        "What the public parent is worth to an attacker: AUC of shadows that start from it, from another parent of the "
        "same data, and from random weights; then the first less each of the others, [95 % interval]"
    )
    return [Table(title, head, body, names=2, brief=True, cards=True)] if body else []


def audit(part: Part) -> list[Block]:
    """What guesses of one run prove of epsilon, beside what a defense claims, and how exposed canaries are."""
    numbers = _last(part.rows)
    there = [metric for metric in AUDITS if any(name == metric for _, name in numbers)]
    cells = [cell for cell in dict.fromkeys(cell for cell, _ in numbers)
             if any((cell, metric) in numbers for metric in there)]  # fmt: skip
    several = len({part.names.pair(cell) for cell in cells}) > 1
    unsaid = not part.names.defenses and any(cell.defense != "none" for cell in cells)
    deltas = {replace(result.cell, seed=-1): float(result.outcome.claim[1]) for result in part.results}
    tables = list[Block]()
    for (pair, view), members in grouped(cells, lambda cell: (part.names.pair(cell), cell.view)).items():
        ranked = sorted(members, key=lambda cell: -_value(numbers.get((cell, there[0]))))
        body = [
            (part.names.strategy(cell), cell.attack, *[cell.defense] * unsaid,
             *(_proven(numbers.get((cell, metric)), deltas.get(cell, 0.0)) for metric in there),
             _text(numbers.get((cell, "cohort_accuracy")), False, None, "cohort_accuracy"))
            for cell in ranked
        ]  # fmt: skip
        coins = sorted({numbers[cell, "guesses_right"].n for cell in members if (cell, "guesses_right") in numbers})
        side = part.face.side(view)
        place = f"{pair}, {side}" if several else side[:1].upper() + side[1:]
        known = f" {' or '.join(map(str, coins))} coins a model." if coins else ""
        title = f"{place}: what was proven of epsilon, the most first, accuracy beside it, [95 % interval].{known}"
        head = ("strategy", "inference", *["defense"] * unsaid, *map(AUDITS.__getitem__, there), "accuracy")
        tables.append(Table(title, head, body, names=2, brief=True, cards=True))
    words = AUDITED + CANARIES * any("canary" in metric for metric in there)
    return [Text(words), *tables] if tables else []


def _proven(row: Row | None, delta: float) -> str:
    """A number of the audit; a bound is an end itself, so that it has no interval of its own but over seeds."""
    if row is None or not row.metric.startswith("epsilon"):
        return interval(row) if row else "-"
    if row.metric == "epsilon_claimed":
        return f"{row.value:g} at delta {delta:g}"
    return interval(row) if row.low < row.value < row.high else measured(row.value, unit(row.metric))


def _counted(part: Part, cells: Sequence[Cell]) -> str:
    """How many models and samples there are, and how many shadows the inferences that have some."""
    records = [result.outcome for result in part.results if replace(result.cell, seed=-1) in cells]
    counts = {(len(record.member) // 2, record.member.shape[1]) for record in records}
    shadows = sorted({int(record.shadows) for record in records} - {0})
    words = [f"{pairs} pairs of models, {samples} samples" for pairs, samples in sorted(counts)]
    words += [f"{' or '.join(map(str, shadows))} shadows where an inference has any"] * bool(shadows)
    return "; ".join(words) + "." * bool(words)


def _sentence(part: Part, cell: Cell, numbers: Numbers, inferences: int) -> str:
    found, known = numbers[cell, "auc"], numbers.get
    words = f"{part.names.strategy(cell)} gives away most to {cell.attack}: its AUC is {interval(found)}"
    parts = [
        (f"{{}} of its members are found where {share} of all others are called by mistake", known((cell, metric)))
        for metric, share in (("tpr_at_1_percent", "1 %"),)
    ]
    parts += [(f"it is right on {{}} of the {cell.view}'s test images", known((cell, "cohort_accuracy")))]
    parts += [("and on {} more of what it learned from", known((cell, "train_gap")))]
    said = [text.format(measured(row.value, unit(row.metric))) for text, row in parts if row]
    chance = ", where 50 % is chance" if found.value == found.value else ""
    no = "" if found.low > 0.5 or found.low != found.low else " Its interval holds chance."
    return f"{words}{chance}{'; ' * bool(said)}{', '.join(said)}.{no}"


def _half_lives(part: Part, several: bool) -> list[str]:
    """By which epoch half of what was above chance of the source is gone."""
    rows = [row for row in part.rows if row.metric == "retention_of_source" and row.eps is not None]
    sentences = []
    for cell, members in grouped(rows, lambda row: row.cell).items():
        ordered = sorted((row.eps or 0.0, row.value) for row in members)
        below = [x for x, value in ordered if value <= 0.5]
        end, left = ordered[-1]
        name = ", ".join([*[part.names.pair(cell)] * several, part.names.strategy(cell), cell.attack])
        when = f"is first below half by epoch {below[0]:g}" if below else f"is not below half by epoch {end:g}"
        kept = f", and {left:.0%} of it is left after {end:g}".replace("%", " %") if left == left else ""
        sentences.append(f"{name}: the exposure of the source's data above chance {when}{kept}.")
    return sentences


def _last(rows: Sequence[Row]) -> Numbers:
    """Every number at the last place of the axis, or of the whole curve."""
    last = {cell: last_x(row for row in members if row.metric == "auc")
            for cell, members in grouped(rows, lambda row: row.cell).items()}  # fmt: skip
    return {(row.cell, row.metric): row for row in rows if row.eps in (None, last[row.cell])}


def _text(row: Row | None, full: bool, decisions: int | None, metric: str) -> str:
    if row is None:
        return "-"
    few = metric in RATES and decisions is not None and RATES[metric] * decisions < ENOUGH
    return "too few" if few else interval(row) if full else measured(row.value, unit(metric))


def _value(row: Row | None) -> float:
    return -1.0 if row is None or math.isnan(row.value) else row.value


def _settings(attack: str) -> tuple[str, list[str]]:
    name, _, settings = attack.partition("(")
    return name, settings.removesuffix(")").split(", ") if settings else []


def _knowledge(attack: str) -> str:
    """Which shadows an inference has; those of the very parent where it does not say."""
    return next((each.partition("=")[2] for each in _settings(attack)[1] if each.startswith("knowledge=")), "lineage")


def _without(attack: str) -> str:
    """The inference without what it says of its shadows."""
    name, settings = _settings(attack)
    others = [each for each in settings if not each.startswith("knowledge=")]
    return f"{name}({', '.join(others)})" if others else name
