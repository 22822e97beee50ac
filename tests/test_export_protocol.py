"""Cells that differ in their seed alone have one protocol, so that files of all seeds can be merged."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import pytest

from tl_robust.cli.commands.export import protocol
from tl_robust.config import load

EXPERIMENTS = Path(__file__).parent.parent / "experiments"
SEEDS = "axes.seed=[0,1]"
BENCHES = {
    "defenses": [],
    "backdoor_target": [],
    "backdoor_defenses": [],
    "defenses_membership": ["axes.defense=[none, 'distill + mahalanobis', ensemble]"],
}


@pytest.mark.parametrize("bench", BENCHES)
def test_seeds_of_the_same_cell_have_one_protocol_and_other_cells_another(bench: str) -> None:
    cells = load(EXPERIMENTS / f"{bench}.yaml", [SEEDS, *BENCHES[bench]]).plan.cells
    found = defaultdict[object, list[str]](list)
    for planned in cells:
        found[replace(planned.cell, seed=0)].append(protocol(planned))
    assert {len(protocols) for protocols in found.values()} in ({2}, {1})
    assert all(len(set(protocols)) == 1 for protocols in found.values())
    if bench == "defenses":
        assert len({protocols[0] for protocols in found.values()}) == len(found)


def test_other_settings_data_and_recipes_have_another_protocol() -> None:
    def first(*changes: str) -> str:
        return protocol(load(EXPERIMENTS / "embedded.yaml", ["axes.seed=[0]", *changes]).plan.cells[0])

    changes = ["recipe.epochs=3", "axes.network[0].width=0.5", "data.test_limit=100", "eps=[0,8/255]"]
    assert len({first(), *(first(change) for change in changes)}) == 1 + len(changes)
