"""Defense cards made by hand: as many defenses as a reader may have, every decision, and every level of trust."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tl_robust.results.card import Card, Decision, Effect, Entry, Line
from tl_robust.results.columns import COLUMNS, Column
from tl_robust.trust import worst
from tl_robust.types import Level, Verdict

DEFENSES = (
    "none", "pgd_at", "fgsm_rs", "trades(beta=1)", "robust_origin", "origin_at", "distill", "private_origin",
    "reset(blocks=2)", "renofeation", "augment(kind=mixup)", "ensemble(of=kinds)", "squeeze(bits=3)",
    "randomize(sigma=0.25)", "mahalanobis", "distill + mahalanobis",
)  # fmt: skip
DECIDED: Sequence[tuple[Decision, float]] = (("helps", 0.123), ("harms", -0.241), ("undecided", 0.004))
KNOWN = (
    "The guard is no function one can differentiate: gradients go straight through it, each link at its own input.",
    "He asks for a wrong class over label and refusal, and keeps the last of 50 steps (Carlini and Wagner, 2017).",
)
REASONS: dict[Level, tuple[str, ...]] = {
    "green": (),
    "amber": ("The interval over 3 seeds is wide.",),
    "red": ("No attack that knows the defense was run.",),
}


def entry(column: Column, place: int, level: Level = "green", **fields: Any) -> Entry:
    """What a card says in a column of the defense at a place, 0 being the undefended B."""
    if column.own and not place:
        return Entry(why="not run")
    if column.unit == "ratio":
        return Entry(1 + place * 0.47, n=3, **fields)
    value = min(0.99, 0.3 + 0.043 * place)
    shown: dict[str, Any] = {"n": 1800, "attack": "pgd linf", "trust": Verdict(level, REASONS[level])}
    if column.better and place:
        decision, change = DECIDED[place % 3]
        sign = 1 if column.better == "higher" else -1
        shown |= {"effect": Effect(sign * change, sign * change - 0.021, sign * change + 0.022, 0.004)}
        shown |= {"decision": decision}
    return Entry(value, value - 0.0312, value + 0.0287, **shown | fields)


def card(defenses: Sequence[str] = DEFENSES, eps: float = 16 / 255, missing: Sequence[str] = (), **fields: Any) -> Card:
    """A card with these defenses.

    Args:
        defenses: The undefended one first.
        eps: Of the card.
        missing: Names of columns that were not run.
        fields: Of the card, in place of those that are made.
    """
    lines = []
    for place, name in enumerate(defenses):
        level: Level = ("green", "amber", "red")[place % 3] if name != "none" else "green"
        entries = {
            column.name: Entry(why="not run")
            if column.name in missing
            else entry(column, place, level if column.name == "white" else "green")
            for column in COLUMNS
        }
        lines.append(
            Line(name, entries, worst([one.trust for one in entries.values()]), KNOWN[: place and 1 + place % 2])
        )
    notes = {
        column.name: f"Not run: no attack of {column.threat} is in these benches." if column.name in missing else
        f"Bench defenses; 3823 labeled target images; seeds 0, 1, 2; attack pgd linf, view {column.views[0]}."
        for column in COLUMNS if column.threat
    }  # fmt: skip
    made = {"source": "rendered_syn", "target": "optdigits", "network": "dtn(width=0.25)", "strategy": "finetune"}
    return Card(**made | {"common": "", "eps": eps, "lines": tuple(lines), "columns": COLUMNS, "notes": notes} | fields)


def changed(made: Card, defense: str, column: str, **fields: Any) -> Card:
    """The card with other fields of one entry."""
    lines = tuple(
        replace(line, entries={**line.entries, column: replace(line.entries[column], **fields)})
        if line.defense == defense
        else line
        for line in made.lines
    )
    return replace(made, lines=lines)
