"""Results of one bench with all three threats, some of them behind a defense, made by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.sinks.backdoor_made import backdoor
from tests.sinks.exposure_made import exposure
from tests.sinks.exposure_made import result as membership
from tests.sinks.wandb_made import BENCH, result
from tl_robust import claims
from tl_robust.results import table
from tl_robust.seeding import digest
from tl_robust.sinks.base import Views
from tl_robust.types import Result

NAME = "tiny"
DEFENSES = ("none", "pgd_at")


def results() -> list[Result[Any]]:
    """Three seeds of evasion, black and white, with and without a defense; backdoors; membership at two strengths."""
    evasion = []
    for seed in range(3):
        made = result(seed)
        for place, defense in enumerate(DEFENSES):
            for view in ("white", "black"):
                cell = replace(made.cell, defense=defense, view=view)
                beside = {"white": made.outcome} | ({"plain": made.outcome} if place else {})
                evasion.append(replace(result(seed, right=14 + place), cell=cell, beside=beside))
    poisoned = [backdoor(seed)[0] for seed in range(2)]
    exposed = [
        membership("rmia", exposure(told), defense=name) for told, name in zip((1.0, 0.5), DEFENSES, strict=True)
    ]
    named = [replace(one, cell=replace(one.cell, bench=NAME)) for one in (*evasion, *poisoned, *exposed)]
    return [replace(one, key=digest(["made", str(one.cell), one.cell.defense])[:16]) for one in named]


def views(folder: Path, **given: Any) -> Views:
    """All that is known of it; report and card are stand-ins."""
    folder.mkdir(exist_ok=True)
    for page in ("report.html", "card.html"):
        (folder / page).write_text("<!doctype html><p>page</p>")
    found = results()
    usual = {
        "findings": claims.decide(found),
        "settings": BENCH,
        "rows": [row for one in found for row in table.rows(one)],
    }
    return Views(folder, NAME, found, table.summary(found), **usual | given)
