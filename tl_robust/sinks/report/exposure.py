"""What models give away of what they learned from: the strongest inference of each, what the parent is worth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from tl_robust.results.names import MARKS, grouped, interval, last_x, measured, unit
from tl_robust.results.table import Row
from tl_robust.sinks.report.blocks import Block, Points, Table, Text
from tl_robust.sinks.report.part import Part
from tl_robust.types import Cell

COLUMNS = (  # heading, metric, with its interval
    ("AUC, 50 % is chance", "auc", True),
    ("members found at 10 %", "tpr_at_10_percent", False),
    ("at 1 %", "tpr_at_1_percent", True),
    ("at 0.1 %", "tpr_at_0_1_percent", False),
    ("accuracy", "cohort_accuracy", False),
    ("train gap", "train_gap", False),
)
RATES = {"tpr_at_10_percent": 0.1, "tpr_at_1_percent": 0.01, "tpr_at_0_1_percent": 0.001}
ENOUGH = 10  # non-members called by mistake, below which a rate is not told
AUDITS = ("epsilon_bound", "epsilon_ceiling", "epsilon_claimed", "guesses_right", "canary_auc",
          "canary_tpr_at_1_percent")  # fmt: skip
KNOWLEDGE = ("lineage", "other_parent", "recipe")
Numbers = dict[tuple[Cell, str], Row]


def exposed(part: Part) -> list[Block]:
    """The strongest inference of each strategy in sentences, then a row for every strategy and inference."""
    numbers, blocks = _last(part.rows), list[Block]()
    shadows = {replace(result.cell, seed=-1): int(result.outcome.shadows) for result in part.results}
    decisions = {replace(result.cell, seed=-1): result.outcome.member.numel() // 2 for result in part.results}
    sentences, tables = list[str](), list[Block]()
    cells = dict.fromkeys(cell for cell, metric in numbers if metric == "auc")
    groups = grouped(cells, lambda cell: (part.names.pair(cell), cell.view))
    for (pair, view), members in groups.items():
        ranked = sorted(members, key=lambda cell: -_value(numbers.get((cell, "auc"))))
        last = part.face.axis_text(numbers[ranked[0], "auc"].eps or 0.0)
        place = f"{pair}, {part.face.side(view)}, after {last} epochs"
        best = {part.names.strategy(cell): cell for cell in reversed(ranked)}
        sentences += [f"{place}: {_sentence(part, cell, numbers, len(members))}"
                      for cell in sorted(best.values(), key=ranked.index)]  # fmt: skip
        body = [
            (part.names.strategy(cell), cell.attack,
             *(_text(numbers.get((cell, metric)), full, decisions.get(cell), metric) for _, metric, full in COLUMNS),
             str(shadows.get(cell, "-")), MARKS[numbers[cell, "auc"].trust])
            for cell in ranked
        ]  # fmt: skip
        head = ("strategy", "inference", *(title for title, *_ in COLUMNS), "shadows", "trust")
        title = f"{place}: every inference, the strongest first; members found where so many non-members are called"
        tables.append(Table(f"{title}, [95 % interval]", head, body, names=2, brief=True, cards=True))
    if tables:
        blocks = [Text("", "How exposed each strategy is"), Points([*sentences, *_half_lives(part)]), *tables]
    return blocks


def parents(part: Part) -> list[Block]:
    """The same inference with shadows of three kinds, and what the parent is worth to who has it."""
    numbers = _last(part.rows)
    cells = dict.fromkeys(cell for cell, metric in numbers if metric == "auc")
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
        place = f"{pair}, {part.face.side(view)}, {inference}"
        body.append((place, strategy, *(interval(row) if row else "-" for row in [*areas, *gains])))
    head = ("pair, inference", "strategy", "AUC, shadows of the parent itself", "of another parent", "by the recipe",
            "the parent beyond another", "beyond the recipe")  # fmt: skip
    title = "What the public parent is worth to an attacker: AUC with it less AUC without it, [95 % interval]"
    return [Table(title, head, body, names=2, brief=True, cards=True)] if body else []


def audit(part: Part) -> list[Block]:
    """What guesses of one run prove of epsilon, beside what a defense claims, and how exposed canaries are."""
    numbers = _last(part.rows)
    there = [metric for metric in AUDITS if any(name == metric for _, name in numbers)]
    cells = [cell for cell in dict.fromkeys(cell for cell, _ in numbers)
             if any((cell, metric) in numbers for metric in there)]  # fmt: skip
    accuracy = [*there, "cohort_accuracy"]
    body = [
        (f"{part.names.group(cell)}, {part.face.side(cell.view)}", part.names.strategy(cell), cell.defense or "none",
         *(interval(numbers[cell, metric]) if (cell, metric) in numbers else "-" for metric in accuracy))
        for cell in cells
    ]  # fmt: skip
    head = ("pair, inference", "strategy", "defense", *(name.replace("_", " ") for name in there), "accuracy")
    title = "What was proven of epsilon and of canaries, accuracy beside it, [95 % interval]"
    return [Table(title, head, body, names=3, brief=True, cards=True)] if body else []


def _sentence(part: Part, cell: Cell, numbers: Numbers, inferences: int) -> str:
    found, known = numbers[cell, "auc"], numbers.get
    words = f"{part.names.strategy(cell)} gives away most to {cell.attack}: its AUC is {interval(found)}"
    parts = [
        (f"{{}} of its members are found where {share} of all others are called by mistake", known((cell, metric)))
        for metric, share in (("tpr_at_1_percent", "1 %"),)
    ]
    parts += [("it is right on {} of test images", known((cell, "cohort_accuracy")))]
    parts += [("and on {} more of what it learned from", known((cell, "train_gap")))]
    said = [text.format(measured(row.value, unit(row.metric))) for text, row in parts if row]
    chance = ", where 50 % is chance" if found.value == found.value else ""
    no = "" if found.low > 0.5 or found.low != found.low else " Its interval holds chance."
    return f"{words}{chance}{'; ' * bool(said)}{', '.join(said)}.{no}"


def _half_lives(part: Part) -> list[str]:
    """By which epoch half of what was above chance of the source is gone."""
    rows = [row for row in part.rows if row.metric == "retention_of_source" and row.eps is not None]
    sentences = []
    for cell, members in grouped(rows, lambda row: row.cell).items():
        ordered = sorted((row.eps or 0.0, row.value) for row in members)
        below = [x for x, value in ordered if value <= 0.5]
        end, left = ordered[-1]
        name = f"{part.names.pair(cell)}, {part.names.strategy(cell)}, {cell.attack}"
        when = f"is first below half by epoch {below[0]:g}" if below else f"is not below half by epoch {end:g}"
        kept = f", and {left:.0%} of it are left after {end:g}".replace("%", " %") if left == left else ""
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
